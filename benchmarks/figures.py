"""A measured figure: its values, their median and quartiles, and the limits it is held to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Repeated measurements of one thing, in `unit`; `limit` is the largest median that is allowed, `least` the smallest, None
    where there is none. detail: further facts for a page, in plain JSON types."""

    what: str
    unit: str
    values: tuple[float, ...]
    limit: float | None = None
    least: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        if len(self.values) < 2:
            return self.median, self.median
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    @property
    def met(self) -> bool:
        return (self.limit is None or self.median <= self.limit) and (self.least is None or self.median >= self.least)

    @property
    def verdict(self) -> str:
        bounds = [f"at most {self.limit:g}"] if self.limit is not None else []
        bounds += [f"at least {self.least:g}"] if self.least is not None else []
        return f"{', '.join(bounds)}: {'met' if self.met else 'MISSED'}" if bounds else ""

    def as_json(self) -> dict[str, Any]:
        limits = {"limit": self.limit, "least": self.least}
        found = {"what": self.what, "unit": self.unit, "median": self.median, **limits, "values": list(self.values)}
        return found | ({"detail": self.detail} if self.detail else {})


def table(figures: Sequence[Figure]) -> str:
    """One line a figure: what, median with unit, interquartile range, number of values, limit."""
    lines = [("", "median", "quartiles", "n", "limit")]
    for figure in figures:
        first, third = figure.quartiles
        middle = f"{figure.median:.3g} {figure.unit}".strip()
        lines.append((figure.what, middle, f"{first:.3g} to {third:.3g}", str(len(figure.values)), figure.verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
