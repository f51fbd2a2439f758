"""Scores of trials on held-out photos, kept in a store, so that a run that was stopped goes on; and how they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xaicli.images.truth import Truth
from xaicli.metric import Quantity, ValueKind
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method, make_metrics
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import expecting
from xaicli.runs.score_run import ScoreRun
from xaicli.training.data import Listing

Values = dict[str, dict[str, NDArray[np.float64]]]
"""Values (photos,) by metric, then by method; the same photos in the same order."""
CONTROL = "center"
Interval = list[float | None]
"""A value, and the ends of its 95 % interval."""


def score(
    store: Path,
    classifier: Classifier,
    methods: Sequence[str],
    metrics: Sequence[str],
    photos: Listing,
    truth: Truth | None = None,
) -> Values:
    """Scores of methods, and of `center`, for the decision; photos that the store holds already are not scored again."""
    chosen = make_metrics(metrics)
    run = ScoreRun(
        photos.sources,
        expecting(classifier, chosen, len(photos), len(methods)),
        [make_method(method) for method in methods],
        chosen,
        controls=(CONTROL,),
        truth=truth,
    )
    run.check()
    with Store.open(store, curves=False, maps=False) as kept:
        with closing(score_missing(run, kept)) as results:
            for result in results:
                if isinstance(result, Failure):
                    raise result.error
        return values_of(kept, classifier)


def values_of(store: Store, classifier: Classifier) -> Values:
    scores = store.scores(Selection())
    [model] = [at for at, (name, fingerprint) in enumerate(scores.models) if classifier.fingerprint in (name, fingerprint)]
    found: Values = {}
    for at, recipe in enumerate(scores.recipes):
        mine = (scores.recipe == at) & (scores.model == model)
        column = np.full(len(scores.photos), np.nan)
        column[scores.photo[mine]] = scores.value[mine]
        found.setdefault(recipe.metric, {})[recipe.method] = column
    return found


def kept(estimate: Estimate) -> Interval:
    return [estimate.value, estimate.low, estimate.high]


def compared(values: Values, method: str, rivals: Sequence[str]) -> Mapping[str, Mapping[str, Interval]]:
    """By metric: the mean of each method, and `method` minus each rival, paired."""
    return {
        metric: {
            **{name: kept(stats.mean(column)) for name, column in by_method.items()},
            **{f"minus {rival}": kept(stats.difference(by_method[method], by_method[rival])) for rival in rivals},
        }
        for metric, by_method in values.items()
    }


def share(values: NDArray[np.float64]) -> Interval:
    """A share of photos, 0 to 1."""
    return kept(stats.mean(values, Quantity(ValueKind.BINARY, 0.0, 1.0)))
