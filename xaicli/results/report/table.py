"""The summary table as the page shows it: each cell's text, the number by which it is sorted, and the position of its interval in
the column."""

from __future__ import annotations

from dataclasses import dataclass

from xaicli.results.sentences import FITTED_MARK, number
from xaicli.results.summary import Group
from xaicli.results.tables import NOTHING, decimals_in, heading, passes_of, shown_median

WIDTH = 100.0


@dataclass(frozen=True)
class TableCell:
    """low, mean, high: positions on a bar of WIDTH units that all cells of the column share; None without an interval."""

    text: str
    interval: str = ""
    count: str = ""
    sort: float | None = None
    bar: tuple[float, float, float] | None = None


class Table:
    """One group's table. headings: of metrics; axes: the ends of each column's bars; lines: (name, is control, cells, passes)."""

    def __init__(self, group: Group) -> None:
        self.headings = [heading(group, metric) for metric in group.metrics]
        self.axes = [axis(group, metric) for metric in group.metrics]
        columns = [column(group, metric) for metric in group.metrics]
        names = [*group.methods, *group.controls]
        rows = list(zip(*columns, strict=True))
        self.lines = [(name, name in group.controls, rows[at], passes_of(group, name)) for at, name in enumerate(names)]
        self.has_passes = any(passes for *_, passes in self.lines)


def column(group: Group, metric: str) -> list[TableCell]:
    found = [group.cells.get((name, metric)) for name in (*group.methods, *group.controls)]
    known = [cell.estimate for cell in found if cell is not None and cell.estimate.known]
    ends = [end for estimate in known for end in (estimate.low, estimate.high) if end is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    decimals = decimals_in(group, metric)
    cells = []
    for cell in found:
        if cell is None:
            cells.append(TableCell(NOTHING))
            continue
        estimate, mark = cell.estimate, FITTED_MARK if cell.recipe.fitted else ""
        count = f"{estimate.n:,} of {estimate.of:,}" if estimate.n < estimate.of else ""
        if cell.single is not None:
            cells.append(TableCell(number(cell.single, 3) + mark, sort=cell.single))
        elif estimate.value is None:
            cells.append(TableCell(NOTHING, count=count))
        elif estimate.low is None or estimate.high is None:
            cells.append(TableCell(number(estimate.value, max(decimals, 3)) + mark, "all equal", count, estimate.value))
        else:
            shown = f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"
            interval = shown + "~" * estimate.optimistic + shown_median(cell, decimals)
            places = (position(end, low, high) for end in (estimate.low, estimate.value, estimate.high))
            bar = tuple(places) if high > low else None
            cells.append(TableCell(number(estimate.value, decimals) + mark, interval, count, estimate.value, bar))  # type: ignore[arg-type]
    return cells


def axis(group: Group, metric: str) -> tuple[str, str] | None:
    """The ends of the bars of a metric's column, None if it has no bars."""
    found = [group.cells[name, metric].estimate for name in (*group.methods, *group.controls) if (name, metric) in group.cells]
    ends = [end for estimate in found for end in (estimate.low, estimate.high) if end is not None]
    if not ends or min(ends) == max(ends):
        return None
    decimals = decimals_in(group, metric)
    return number(min(ends), decimals), number(max(ends), decimals)


def position(value: float, low: float, high: float) -> float:
    return round(WIDTH * (value - low) / (high - low), 1)
