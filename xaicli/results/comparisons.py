"""Comparisons of methods with each other and with their controls: paired by photo, corrected within one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.needed import photos_needed, spread_of
from xaicli.rows import OTHER, Recipe

SIGNIFICANT = 0.05
BORROWED = f"{OTHER}@base="
"""Prefix of a control that belongs to one method, whose label follows."""

State = Literal["better", "worse", "not shown"]
Question = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """Two methods under one metric, the better mean first; or a method and a control, the method first.

    difference: first minus second, paired, with its unadjusted p; p: adjusted by Holm over the `among` comparisons of the same
    question; both are None if the differences of all photos are equal; needed: the number of photos with which four in five such
    tests would detect the difference. One question compares all methods with each other under one metric, or one method with its
    controls.
    """

    metric: str
    first: str
    second: str
    difference: Estimate
    p: float | None
    among: int
    needed: float
    control: bool
    higher_is_better: bool

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < SIGNIFICANT

    @property
    def state(self) -> State:
        """Whether the first is shown to be better, to be worse, or neither."""
        if not self.significant:
            return "not shown"
        return "better" if ((self.difference.value or 0.0) > 0) == self.higher_is_better else "worse"


def compared(
    recipes: Mapping[tuple[str, str], Recipe],
    table: NDArray[np.float64],
    methods: Sequence[str],
    controls: Sequence[str],
    metrics: Sequence[str],
) -> tuple[Comparison, ...]:
    """All pairs of methods, and each method with its controls, under each metric that has a direction.

    recipes: by method and metric; table: (photos, cells), a column for each of them.
    """
    column = {name: at for at, name in enumerate(recipes)}
    found: list[tuple[Question, Comparison]] = []
    for metric in metrics:
        for first, second, control in wanted_pairs(methods, controls):
            if not all((name, metric) in recipes for name in (first, second)) or not meaningful(recipes[first, metric], second):
                continue
            values = table[:, column[first, metric]] - table[:, column[second, metric]]
            comparison = one_comparison(metric, first, second, values, recipes[first, metric], control=control)
            if comparison is not None:
                found.append(((metric, first if control else ""), comparison))
    return tuple(corrected(found))


def one_comparison(
    metric: str, first: str, second: str, values: NDArray[np.float64], recipe: Recipe, *, control: bool
) -> Comparison | None:
    """The comparison from differences (photos,), not yet corrected; None if fewer than two photos have both scores."""
    difference = stats.change(values, recipe.quantity)
    if difference.value is None:
        return None
    higher = recipe.direction == "higher"
    if not control and (difference.value > 0) != higher:
        first, second, difference = second, first, turned(difference)
    needed = photos_needed(spread_of(values), difference.value or 0.0)
    return Comparison(metric, first, second, difference, difference.p, 1, needed, control, higher)


def meaningful(recipe: Recipe, against: str) -> bool:
    """Whether a metric can compare the two: it must have a better direction, and where one of the two maps belongs to another
    photo, it must read more than the map."""
    return recipe.direction != "neither" and not (recipe.of_map_alone and against.startswith(BORROWED))


def corrected(found: Sequence[tuple[Question, Comparison]]) -> Iterator[Comparison]:
    """The comparisons with p adjusted by Holm within each question."""
    tested: dict[Question, list[float]] = {}
    for question, comparison in found:
        if comparison.p is not None:
            tested.setdefault(question, []).append(comparison.p)
    adjusted = {question: iter(stats.holm(values)) for question, values in tested.items()}
    for question, comparison in found:
        if comparison.p is None:
            yield comparison
        else:
            yield replace(comparison, p=next(adjusted[question]), among=len(tested[question]))


def wanted_pairs(methods: Sequence[str], controls: Sequence[str]) -> list[tuple[str, str, bool]]:
    pairs = [(first, second, False) for at, first in enumerate(methods) for second in methods[at + 1 :]]
    return pairs + [(method, control, True) for control in controls for method in methods if belongs(control, method)]


def belongs(control: str, method: str) -> bool:
    """Whether a control belongs to a method: all do, except another method's maps of other photos."""
    return not control.startswith(BORROWED) or control.removeprefix(BORROWED) == method


def turned(estimate: Estimate) -> Estimate:
    """The estimate of second minus first."""
    value, low, high = (None if part is None else -part for part in (estimate.value, estimate.high, estimate.low))
    return replace(estimate, value=value, low=low, high=high)
