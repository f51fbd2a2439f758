"""A summary as a table for people, Markdown, CSV or JSON. No mean is shown without its n and its interval."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from xaicli.errors import UsageError
from xaicli.results.comparisons import Comparison
from xaicli.results.intervals import LEVEL, Estimate
from xaicli.results.sentences import FITTED_MARK, decimals_of, fits, number, sentences, with_interval
from xaicli.results.summary import Cell, Group
from xaicli.terminal import printable
from xaicli.text_table import aligned, in_blocks, in_markdown, latex, markdown
from xaicli.words import count
from xaicli.writable_text import json_text

FORMATS = ("table", "markdown", "latex", "json", "csv")
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
NOTHING = "–"
GAP = "   "
CSV_COLUMNS = (
    *("model", "fingerprint", "target_rule", "precision"),
    *("method", "metric", "direction", "control"),
    *("mean", "low", "high", "n", "of"),
    *("test", "optimistic", "median", "median_low", "median_high", "fitted"),
)


def render(groups: Sequence[Group], form: str, *, width: int | None = None) -> str:
    """The groups in one of FORMATS, ending in a line break; width: of the table, in terminal columns (0: unlimited)."""
    if form == "json":
        return json_text({"level": LEVEL, "groups": [as_json(group) for group in groups]}) + "\n"
    if form == "csv":
        return to_csv(groups)
    if form == "markdown":
        return "\n".join(to_markdown(group, titled=len(groups) > 1) for group in groups)
    if form == "latex":
        return "\n".join(to_latex(group) for group in groups)
    if form == "table":
        if width is None:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        return "\n".join(to_text(group, width, titled=len(groups) > 1) for group in groups)
    raise UsageError(f'no format "{form}"', expected=", ".join(FORMATS))


# For people


def to_text(group: Group, width: int, *, titled: bool) -> str:
    """The table, in blocks of as many metrics as fit the width, and the sentences under it."""
    names = [*group.methods, *group.controls]
    first = ["", *map(printable, names)]
    columns = [
        [printable(heading(group, metric)), *(shown(group, method, metric) for method in names)] for metric in group.metrics
    ]
    if any(passes_of(group, method) for method in names):
        columns.append(["passes per photo", *(passes_of(group, method) for method in names)])
    lines = [printable(title(group)), ""] if titled else []
    for block in in_blocks(first, columns, width, GAP):
        right = [False, *[True] * (len(block[0]) - 1)]
        lines += [*aligned(block, right=right, gap=GAP), ""]
    return "\n".join([*lines, caption(group), *map(printable, sentences(group))]) + "\n"


def title(group: Group) -> str:
    model = group.model or f"model {group.fingerprint}"
    return f"{model}, target {group.target_rule}, {group.precision}"


def caption(group: Group) -> str:
    if group.photos == 1:
        return "1 photo."
    tests = dict.fromkeys(cell.estimate.test for cell in group.cells.values() if cell.estimate.low is not None)
    by = f" ({'; '.join(tests)})" if tests else ""
    return f"{count(group.photos, 'photo')}; the mean and its {LEVEL * 100:.0f} % interval{by}."


def heading(group: Group, metric: str) -> str:
    recipe = group.recipe(metric)
    unit = f", {recipe.unit}" if recipe.unit else ""
    return f"{metric}{unit}{ARROWS.get(recipe.direction, '')}"


def shown(group: Group, method: str, metric: str) -> str:
    """One cell: the mean with its interval, a mark if the map was fitted to the metric, and n if values are missing."""
    cell = group.cells.get((method, metric))
    if cell is None:
        return NOTHING
    mark = FITTED_MARK if cell.recipe.fitted else ""
    count = f" ({cell.estimate.n:,} of {cell.estimate.of:,})" if cell.estimate.n < cell.estimate.of else ""
    if cell.single is not None:
        return number(cell.single, 3) + mark
    if not cell.estimate.known:
        return NOTHING + count
    places = decimals_in(group, metric)
    return with_interval(cell.estimate, places) + shown_median(cell, places) + mark + count


def shown_median(cell: Cell, places: int) -> str:
    """The median beside the mean of skewed scores, with its interval if there are six photos or more."""
    if cell.median is None or cell.median.value is None or cell.estimate.low is None:
        return ""
    alone = cell.median.low is None
    return f", median {number(cell.median.value, places) if alone else with_interval(cell.median)}"


def decimals_in(group: Group, metric: str) -> int:
    """The number of decimals of a column, which its narrowest interval decides."""
    return max(decimals_of(cell.estimate) for (_, named), cell in group.cells.items() if named == metric)


def passes_of(group: Group, method: str) -> str:
    return next((cell.recipe.passes.removesuffix(" passes") for (named, _), cell in group.cells.items() if named == method), "")


def to_markdown(group: Group, *, titled: bool) -> str:
    rows = cells_of(group)
    lines = [f"### {in_markdown(title(group))}", ""] if titled else []
    lines += [markdown(rows, right=[False, *[True] * len(group.metrics)]), ""]
    lines += [caption(group), "", *(f"- {in_markdown(sentence)}" for sentence in sentences(group))]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(group: Group) -> str:
    """The table for a paper, with a comment above it that says what it shows."""
    about = "\n".join(f"% {printable(line)}" for line in (f"{title(group)}; {caption(group)}", *fits(group)))
    return f"{about}\n{latex(cells_of(group), right=[False, *[True] * len(group.metrics)])}\n"


def cells_of(group: Group) -> list[list[str]]:
    """Rows of methods and controls under a header, one column per metric."""
    names = [*group.methods, *group.controls]
    header = ["method", *(heading(group, metric) for metric in group.metrics)]
    return [header, *([method, *(shown(group, method, metric) for metric in group.metrics)] for method in names)]


# For programs


def to_csv(groups: Sequence[Group]) -> str:
    """One line per cell: model, target rule, precision, method, metric, mean, interval, n."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for group in groups:
        for (method, metric), cell in group.cells.items():
            about = [group.model, group.fingerprint, group.target_rule, group.precision, method, metric]
            estimate = cell.estimate
            numbers = [estimate.value, estimate.low, estimate.high, estimate.n, estimate.of]
            middle = [None] * 3 if cell.median is None else [cell.median.value, cell.median.low, cell.median.high]
            row = [*about, cell.recipe.direction, int(cell.recipe.control), *numbers]
            writer.writerow([*row, estimate.test, int(estimate.optimistic), *middle, int(cell.recipe.fitted)])
    return text.getvalue()


def as_json(group: Group) -> dict[str, Any]:
    """All that is known of a group: cells, comparisons, sentences."""
    return {
        "model": group.model,
        "fingerprint": group.fingerprint,
        "target_rule": group.target_rule,
        "precision": group.precision,
        "photos": group.photos,
        "cells": [cell_json(method, metric, cell) for (method, metric), cell in group.cells.items()],
        "comparisons": [comparison_json(comparison) for comparison in group.comparisons],
        "sentences": sentences(group),
    }


def cell_json(method: str, metric: str, cell: Cell) -> dict[str, Any]:
    recipe = cell.recipe
    result: dict[str, Any] = {
        "method": method,
        "metric": metric,
        "definition": recipe.definition,
        "direction": recipe.direction,
        "kind": recipe.kind,
        "control": recipe.control,
        "fitted": recipe.fitted,
        "passes": recipe.passes,
        **figures(cell.estimate),
        "without_value": dict(cell.statuses),
    }
    if cell.single is not None:
        result["single"] = cell.single
    if cell.median is not None:
        middle = cell.median
        result["median"] = {"value": middle.value, "low": middle.low, "high": middle.high, "test": middle.test}
    if cell.readouts:
        result["readouts"] = {name: figures(estimate) for name, estimate in cell.readouts.items()}
    return result


def figures(estimate: Estimate) -> Mapping[str, float | int | str | None]:
    ends = {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
    return {**ends, "n": estimate.n, "of": estimate.of, "test": estimate.test, "optimistic": estimate.optimistic}


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    return {
        "metric": comparison.metric,
        "first": comparison.first,
        "second": comparison.second,
        "control": comparison.control,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "n": difference.n,
        "test": difference.test,
        "p": difference.p,
        "p_holm": comparison.p,
        "among": comparison.among,
        "state": comparison.state,
        "significant": comparison.significant,
        "photos_needed": comparison.needed if comparison.needed != float("inf") else None,
    }
