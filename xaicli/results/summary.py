"""The summary of a store: the mean over photos with its interval for each method and metric, and all comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xaicli.metric import ValueKind
from xaicli.results import stats
from xaicli.results.comparisons import Comparison, compared
from xaicli.results.intervals import Estimate
from xaicli.results.reading import Selection, StoredScores
from xaicli.results.store import Store
from xaicli.rows import FITTED, OK, Recipe


@dataclass(frozen=True)
class Cell:
    """One method under one metric.

    single: the value of the only photo, which has no interval; statuses: how many rows have no value, by reason; readouts: means
    of read-outs, or ratios of means if the metric says so; median: only for a metric whose values are skewed.
    """

    recipe: Recipe
    estimate: Estimate
    single: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    readouts: Mapping[str, Estimate] = field(default_factory=dict)
    median: Estimate | None = None


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
        """Any recipe of that metric, to read its direction and unit."""
        return next(cell.recipe for (_, named), cell in self.cells.items() if named == metric)


def summarise(store: Store, selection: Selection | None = None, *, readouts: bool = False) -> list[Group]:
    """One group for each model, target rule and precision in the store; `readouts` gives the means of read-outs too."""
    scores = store.scores(selection, readouts=readouts)
    found: dict[tuple[int, str, str], list[int]] = {}
    rules = [(recipe.target_rule, recipe.precision) for recipe in scores.recipes]
    for model, recipe in sorted({*zip(scores.model.tolist(), scores.recipe.tolist(), strict=True)}):
        found.setdefault((model, *rules[recipe]), []).append(recipe)
    return [group_of(scores, model, recipes) for (model, _, _), recipes in found.items()]


def group_of(scores: StoredScores, model: int, recipes: list[int]) -> Group:
    mine = np.isin(scores.recipe, recipes) & (scores.model == model)
    photos, photo = np.unique(scores.photo[mine], return_inverse=True)
    column = np.searchsorted(recipes, scores.recipe[mine])
    shape = (len(photos), len(recipes))
    names = unique_labels([scores.recipes[at] for at in recipes])
    table = by_photo(photo, column, scores.value[mine], shape)
    statuses = counted(column, scores.status[mine], scores.statuses)
    cells = {name: cell_of(scores.recipes[recipes[at]], table[:, at], statuses.get(at, {})) for at, name in enumerate(names)}
    if scores.readouts:
        columns = {name: by_photo(photo, column, values[mine], shape) for name, values in scores.readouts.items()}
        columns["value"] = table
        cells = {name: with_readouts(cell, at, columns) for at, (name, cell) in enumerate(cells.items())}
    methods, controls, metrics = ordered(cells)
    comparisons = compared({name: cell.recipe for name, cell in cells.items()}, table, methods, controls, metrics)
    fingerprint, model_name = scores.models[model]
    first = scores.recipes[recipes[0]]
    about = (model_name, fingerprint, first.target_rule, first.precision, len(photos))
    return Group(*about, methods, controls, metrics, cells, comparisons)


def cell_of(recipe: Recipe, values: NDArray[np.float64], statuses: Mapping[str, int]) -> Cell:
    """The summary of a column of values (photos,), NaN for a missing value."""
    single = float(values[0]) if len(values) == 1 and not np.isnan(values[0]) else None
    skewed = recipe.quantity.kind is ValueKind.SKEWED
    median = stats.median(values) if skewed else None
    return Cell(recipe, stats.mean(values, recipe.quantity), single, statuses, median=median)


def by_photo(
    photo: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """The mean over each photo's targets and seeds, (photos, columns), so that photos are the unit of statistics; NaN if
    missing."""
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
    """The cell with the means of its read-outs, or ratios of means if the recipe declares a read-out as a ratio."""
    found = {}
    for name in columns.keys() - {"value", FITTED}:
        if np.isnan(columns[name][:, at]).all():
            continue
        if name in cell.recipe.ratios:
            above, below = (columns[first][:, at] - columns[less][:, at] for first, less in cell.recipe.ratios[name])
            found[name] = stats.ratio_of_means(above, below)
        else:
            found[name] = stats.mean(columns[name][:, at])
    return replace(cell, readouts=dict(sorted(found.items())))


def unique_labels(recipes: Sequence[Recipe]) -> list[tuple[str, str]]:
    """Labels (method, metric); if two definitions have the same labels, as after a new version, a number distinguishes them."""
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
    """Methods and controls, the best first by the first metric with a direction; metrics in the order first written."""
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
