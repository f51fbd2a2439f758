"""Which method `xai explain` takes on the bundled networks where none is named: by the model card's scores.

    python -m tools.default_methods         reads docs/results/defaults/NAME.jsonl, writes xaicli/models/bundled/defaults.json

A candidate costs two passes at most, explains any class by what a layer, attention or a trained head holds, and takes its
default parameters. Its maps are coarser than the photo: a map of single pixels gains on insertion what nobody can see in it,
and a product with the photo's own edges (`feature-cam`) raises insertion even where the map knows nothing of the network.
`python -m tools.bundled_models --card` scores all of them, stores the scores and chooses: of those that are shown to beat
grad-cam on insertion, by a paired test that is corrected for the number of candidates, the one with the best mean; where there
is none, grad-cam stays (`ahead` false).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from docs import stored_rows
from docs.page_words import shown, wrapped
from xaicli.builtin import METHODS
from xaicli.files import write_atomic
from xaicli.method import Method, Needs
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import CONTROLS, make_method
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.runs import default_method
from xaicli.suitability import unfit
from xaicli.targets import DECISION, Targets
from xaicli.words import count

SCORES = Path("docs/results/defaults")
METRIC = "insertion"
USUAL = "grad-cam"
MOST_PASSES = 2
LEVEL = 0.05
OF_LAYERS = Needs.FEATURES | Needs.ATTENTION | Needs.CHECKPOINT | Needs.HEAD

Values = Mapping[str, Mapping[str, float]]
"""Values by method, then by photo."""


def candidates(classifier: Classifier) -> list[Method]:
    """The methods among which the default of a classifier is chosen, with their default parameters."""
    known = [make_method(name) for name in METHODS if name not in CONTROLS]
    return [method for method in known if is_candidate(method, classifier)]


def is_candidate(method: Method, classifier: Classifier) -> bool:
    cost = method.cost(classifier)
    return (
        cost.forward + cost.backward <= MOST_PASSES
        and bool(method.needs & OF_LAYERS)
        and method.class_specific
        and not method.decision_only
        and not unfit(method, classifier)
        and is_coarse(method, classifier)
    )


def is_coarse(method: Method, classifier: Classifier) -> bool:
    """Whether maps have fewer rows and columns than the photo."""
    size = classifier.view.size
    noise = torch.rand(1, classifier.view.channels, *size, generator=torch.Generator().manual_seed(0))
    maps = method.attribute(classifier, noise.to(classifier.device), Targets((DECISION,)), torch.zeros(1, dtype=torch.long))
    return all(side < whole for side, whole in zip(maps.values.shape[-2:], size, strict=True))


def store(path: Path, columns: Iterable[stored_rows.Column]) -> None:
    """Keep the candidates' scores of one network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored_rows.write(path, {(column.method, column.metric): column for column in columns})


def values_of(columns: Iterable[stored_rows.Column]) -> Values:
    return {column.method: column.values for column in columns}


def read(path: Path) -> Values:
    return values_of(stored_rows.read(path).values())


def gains(values: Values) -> dict[str, tuple[Estimate, Estimate]]:
    """The mean of each candidate and its gain over grad-cam, over the photos that all have; the best mean first."""
    photos = sorted(set.intersection(*map(set, values.values())))
    columns: Mapping[str, NDArray[np.float64]] = {
        name: np.asarray([own[photo] for photo in photos]) for name, own in values.items()
    }
    order = sorted(columns, key=lambda name: (columns[name].mean(), name == USUAL), reverse=True)
    return {name: (stats.mean(columns[name]), stats.difference(columns[name], columns[USUAL])) for name in order}


def chosen(values: Values) -> dict[str, Any]:
    """The default of one network, with its figures."""
    found = gains(values)
    best = next((name for name in found if is_ahead(found[name][1], len(found) - 1)), USUAL)
    value = found[best][0]
    return {
        "method": best,
        "ahead": best != USUAL,
        "value": [value.value, value.low, value.high],
        "photos": value.n,
        "among": len(found),
    }


def is_ahead(gain: Estimate, comparisons: int) -> bool:
    """Whether a gain is shown to lie above 0 where so many are looked at (Bonferroni)."""
    return gain.value is not None and gain.value > 0 and gain.p is not None and gain.p * comparisons < LEVEL


def section(columns: Iterable[stored_rows.Column]) -> str:
    """The part of the model card that says how the default was chosen."""
    values = values_of(columns)
    choice, found = chosen(values), gains(values)
    why = (
        f"it has the best mean that is shown to beat {USUAL}'s (paired, after correcting for {len(found) - 1} comparisons)"
        if choice["ahead"]
        else f"no other is shown to beat it (paired, after correcting for {len(found) - 1} comparisons)"
    )
    every = set().union(*values.values())
    photos = f"{choice['photos']} photos"
    if choice["photos"] < len(every):
        photos = f"the {choice['photos']} of {count(len(every), 'photo')} where all of them have a score"
    about = (
        f"Without `--method`, `xai explain` takes `{choice['method']}` here: of {len(found)} methods of layers, attention or "
        f"trained heads that take one or two passes, scored by {METRIC} on {photos}, {why}."
    )
    table = [f"| method | {METRIC} ↑ | less {USUAL} |", "| --- | ---: | ---: |"]
    for name, (mean, gain) in found.items():
        table.append(f"| {name} | {shown(interval(mean), 3)} | {shown(interval(gain), 3) if name != USUAL else ''} |")
    return "\n\n".join([wrapped(about), "\n".join(table)]) + "\n"


def interval(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]


def write(folder: Path) -> None:
    """Choose from the stored scores of a folder and write the package's data."""
    networks = {path.stem: measured(path) for path in stored_rows.files(folder)}
    content = json.dumps({"networks": networks, "otherwise": default_method.OTHERWISE}, indent=1).encode()
    write_atomic(default_method.FILE, lambda file: file.write(content + b"\n"))


def measured(path: Path) -> dict[str, Any]:
    classifier = load_classifier(path.stem, device="cpu")
    return {"fingerprint": classifier.weights_fingerprint, **chosen(read(path))}


def main() -> int:
    write(SCORES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
