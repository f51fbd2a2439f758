"""The summary of a store: for each method and metric the mean over photos with its interval, and all paired comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.reading import Scores, Selection
from xaicli.results.store import Store
from xaicli.rows import OK, Recipe

SIGNIFICANT = 0.05
OTHER = "other@base="
"""A control that belongs to one method: the label of that method follows."""


@dataclass(frozen=True)
class Cell:
    """One method under one metric.

    single: the value of the only photo there is, which has no interval and is no mean; statuses: how many rows have no value, by
    reason; readouts: means of read-outs, ratios of means where the metric says so.
    """

    recipe: Recipe
    estimate: Estimate
    single: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    readouts: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two methods under one metric, the better mean first; or a method and a control, the method first.

    difference: first less second, paired; p: adjusted by Holm over all comparisons of the group; needed: photos at which four in
    five such tests would see the difference.
    """

    metric: str
    first: str
    second: str
    difference: Estimate
    p: float
    needed: float
    control: bool

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: one model, target rule and precision. methods and metrics: labels in the order of the table."""

    model: str
    fingerprint: str
    target_rule: str
    precision: str
    photos: int
    methods: tuple[str, ...]
    controls: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    comparisons: tuple[Comparison, ...]

    def recipe(self, metric: str) -> Recipe:
        """A recipe of that metric, for its direction and unit."""
        return next(cell.recipe for (_, named), cell in self.cells.items() if named == metric)


def summarise(store: Store, selection: Selection | None = None, *, readouts: bool = False) -> list[Group]:
    """One group for each model, target rule and precision in the store; `readouts` gives the means of read-outs too."""
    scores = store.scores(selection, readouts=readouts)
    found: dict[tuple[int, str, str], list[int]] = {}
    rules = [(recipe.target_rule, recipe.precision) for recipe in scores.recipes]
    for model, recipe in sorted({*zip(scores.model.tolist(), scores.recipe.tolist(), strict=True)}):
        found.setdefault((model, *rules[recipe]), []).append(recipe)
    return [group_of(scores, model, recipes) for (model, _, _), recipes in found.items()]


def group_of(scores: Scores, model: int, recipes: list[int]) -> Group:
    mine = np.isin(scores.recipe, recipes) & (scores.model == model)
    photos, photo = np.unique(scores.photo[mine], return_inverse=True)
    column = np.searchsorted(recipes, scores.recipe[mine])
    shape = (len(photos), len(recipes))
    names = unique_labels([scores.recipes[at] for at in recipes])
    table = by_photo(photo, column, scores.value[mine], shape)
    estimates = stats.means(table)
    statuses = counted(column, scores.status[mine], scores.statuses)
    cells = {}
    for at, recipe in enumerate(recipes):
        value = table[0, at] if len(photos) == 1 else np.nan
        single = None if np.isnan(value) else float(value)
        cells[names[at]] = Cell(scores.recipes[recipe], estimates[at], single, statuses.get(at, {}))
    if scores.readouts:
        columns = {name: by_photo(photo, column, values[mine], shape) for name, values in scores.readouts.items()}
        columns["value"] = table
        cells = {name: with_readouts(cell, at, columns) for at, (name, cell) in enumerate(cells.items())}
    methods, controls, metrics = ordered(cells)
    comparisons = compared(cells, table, methods, controls, metrics)
    fingerprint, model_name = scores.models[model]
    first = scores.recipes[recipes[0]]
    about = (model_name, fingerprint, first.target_rule, first.precision, len(photos))
    return Group(*about, methods, controls, metrics, cells, comparisons)


def by_photo(
    photo: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """(photos, columns): the mean over a photo's targets and seeds, so that photos stay the unit; NaN where there is none."""
    place = photo * shape[1] + column
    there = ~np.isnan(value)
    size = shape[0] * shape[1]
    total = np.bincount(place[there], weights=value[there], minlength=size)
    with np.errstate(invalid="ignore"):
        return (total / np.bincount(place[there], minlength=size)).reshape(shape)


def counted(column: NDArray[np.int64], status: NDArray[np.int64], words: Sequence[str]) -> dict[int, dict[str, int]]:
    """How many rows of each column have no value, by reason."""
    without = status != words.index(OK)
    pairs = Counter(zip(column[without].tolist(), status[without].tolist(), strict=True))
    result: dict[int, dict[str, int]] = {}
    for (at, word), count in sorted(pairs.items()):
        result.setdefault(at, {})[words[word]] = count
    return result


def with_readouts(cell: Cell, at: int, columns: Mapping[str, NDArray[np.float64]]) -> Cell:
    """The cell with the means of its read-outs; a ratio of means where the recipe says that the read-out is one."""
    found = {}
    for name in columns.keys() - {"value"}:
        if np.isnan(columns[name][:, at]).all():
            continue
        if name in cell.recipe.ratios:
            above, below = (columns[first][:, at] - columns[less][:, at] for first, less in cell.recipe.ratios[name])
            found[name] = stats.ratio_of_means(above, below)
        else:
            found[name] = stats.mean(columns[name][:, at])
    return Cell(cell.recipe, cell.estimate, cell.single, cell.statuses, dict(sorted(found.items())))


def unique_labels(recipes: Sequence[Recipe]) -> list[tuple[str, str]]:
    """(method, metric) labels; where two definitions share one, as after a new version, a number tells them apart."""
    methods = told_apart([(recipe.method, recipe.method_definition) for recipe in recipes])
    metrics = told_apart([(recipe.metric, str(recipe.metric_content)) for recipe in recipes])
    return list(zip(methods, metrics, strict=True))


def told_apart(named: Sequence[tuple[str, str]]) -> list[str]:
    meanings: dict[str, list[str]] = {}
    for label, meaning in dict.fromkeys(named):
        meanings.setdefault(label, []).append(meaning)
    return [
        label if len(meanings[label]) == 1 else f"{label} ({meanings[label].index(meaning) + 1} of {len(meanings[label])})"
        for label, meaning in named
    ]


def ordered(cells: Mapping[tuple[str, str], Cell]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Methods and controls, the best first by the first metric that has a direction; metrics as first written."""
    metrics = tuple(dict.fromkeys(metric for _, metric in cells))
    judge = next((metric for (_, metric), cell in cells.items() if cell.recipe.direction != "neither"), None)

    def rank(method: str) -> float:
        cell = cells.get((method, judge or ""))
        value = None if cell is None else cell.single if cell.single is not None else cell.estimate.value
        if cell is None or value is None:
            return np.inf
        return -value if cell.recipe.direction == "higher" else value

    labels = sorted(dict.fromkeys(method for method, _ in cells), key=rank)
    are_controls = {method for (method, _), cell in cells.items() if cell.recipe.control}
    return tuple(m for m in labels if m not in are_controls), tuple(m for m in labels if m in are_controls), metrics


def compared(
    cells: Mapping[tuple[str, str], Cell],
    table: NDArray[np.float64],
    methods: Sequence[str],
    controls: Sequence[str],
    metrics: Sequence[str],
) -> tuple[Comparison, ...]:
    """All pairs of methods, and each method with its controls, under each metric that has a direction.

    table: (photos, cells), a column for each of `cells`.
    """
    column = {name: at for at, name in enumerate(cells)}
    pairs = [
        (metric, *pair)
        for metric in metrics
        for pair in wanted_pairs(methods, controls)
        if all((name, metric) in cells and cells[name, metric].recipe.direction != "neither" for name in pair[:2])
    ]
    places = [(column[first, metric], column[second, metric]) for metric, first, second, _ in pairs]
    found = []
    for (metric, first, second, control), estimate in zip(pairs, stats.differences(table, places), strict=True):
        if estimate.value is None or estimate.p is None:
            continue
        if not control and (estimate.value > 0) != (cells[first, metric].recipe.direction == "higher"):
            first, second, estimate = second, first, turned(estimate)
        found.append((metric, first, second, estimate, control))
    adjusted = stats.holm([estimate.p or 0.0 for *_, estimate, _ in found])
    return tuple(
        Comparison(metric, first, second, estimate, p, needed_for(estimate), control)
        for (metric, first, second, estimate, control), p in zip(found, adjusted, strict=True)
    )


def needed_for(difference: Estimate) -> float:
    return stats.photos_needed(stats.spread_of(difference), difference.value or 0.0)


def wanted_pairs(methods: Sequence[str], controls: Sequence[str]) -> list[tuple[str, str, bool]]:
    pairs = [(first, second, False) for at, first in enumerate(methods) for second in methods[at + 1 :]]
    return pairs + [(method, control, True) for control in controls for method in methods if belongs(control, method)]


def belongs(control: str, method: str) -> bool:
    """Whether a control stands beside a method: all do, except another method's maps of other photos."""
    return not control.startswith(OTHER) or control.removeprefix(OTHER) == method


def turned(estimate: Estimate) -> Estimate:
    """The estimate of second less first."""
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return Estimate(-estimate.value, -estimate.high, -estimate.low, estimate.n, estimate.of, estimate.p)
