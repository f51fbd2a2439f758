"""Which method `xai explain` takes on the bundled networks where none is named: by stored scores, kept as data of the package.

    python -m tools.default_methods         reads docs/results/NAME.jsonl, writes xaicli/models/bundled/defaults.json

A candidate costs two passes at most, explains any class by what a layer, attention or a trained head holds (a map of single
pixels gains on insertion what nobody can see in it), and takes its default parameters. The best mean by insertion wins; where its
paired 95 % interval against grad-cam holds 0, grad-cam stays (`ahead` false).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docs import stored_rows
from xaicli.builtin import METHODS
from xaicli.files import write_atomic
from xaicli.method import Method, Needs
from xaicli.models.architecture import OURS
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import CONTROLS, make_method
from xaicli.results import stats
from xaicli.runs.default_method import FILE, OTHERWISE
from xaicli.suitability import unfit

RESULTS = Path("docs/results")
METRIC = "insertion"
USUAL = "grad-cam"
MOST_PASSES = 2
OF_LAYERS = Needs.FEATURES | Needs.ATTENTION | Needs.CHECKPOINT | Needs.HEAD

Values = dict[str, dict[str, float]]
"""Values by method, then by photo."""


def read(path: Path) -> Values:
    return {column.method: column.values for column in stored_rows.read(path).values() if column.metric == METRIC}


def is_candidate(method: Method, classifier: Classifier) -> bool:
    cost = method.cost(classifier)
    return (
        cost.forward + cost.backward <= MOST_PASSES
        and bool(method.needs & OF_LAYERS)
        and method.class_specific
        and not method.decision_only
        and not unfit(method, classifier)
    )


def chosen(values: Values, candidates: list[str]) -> dict[str, Any]:
    """The winner of one network, with its figures over the photos that all candidates have."""
    photos = sorted(set.intersection(*(set(values[name]) for name in candidates)))
    columns: Mapping[str, NDArray[np.float64]] = {
        name: np.asarray([values[name][photo] for photo in photos]) for name in candidates
    }
    best = max(candidates, key=lambda name: (columns[name].mean(), name == USUAL))
    ahead = stats.difference(columns[best], columns[USUAL])
    is_ahead = ahead.low is not None and ahead.low > 0
    best = best if is_ahead else USUAL
    value = stats.mean(columns[best])
    return {
        "method": best,
        "ahead": is_ahead,
        "value": [value.value, value.low, value.high],
        "photos": len(photos),
        "among": len(candidates),
    }


def measured(network: str) -> dict[str, Any]:
    classifier = load_classifier(network, device="cpu")
    values = read(RESULTS / f"{network}.jsonl")
    names = [name for name in values if name in METHODS and name not in CONTROLS]
    candidates = [name for name in names if is_candidate(make_method(name), classifier)]
    return {"fingerprint": classifier.weights_fingerprint, **chosen(values, candidates)}


def main() -> int:
    content = json.dumps({"networks": {name: measured(name) for name in OURS}, "otherwise": OTHERWISE}, indent=1).encode()
    write_atomic(FILE, lambda file: file.write(content + b"\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
