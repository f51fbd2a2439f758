"""Bounds on means: `--fail-under METRIC=X` and `--fail-over METRIC=X`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xaicli.errors import UsageError
from xaicli.registry import make_metric
from xaicli.results.summary import Group

Given = Mapping[str, float] | Sequence[str] | str
"""`{"insertion": 0.5}`, or `"insertion=0.5"`, one or several."""


@dataclass(frozen=True)
class Bound:
    """A limit that the lower end of every method's interval must reach (`least`), or the upper end must not exceed (`most`)."""

    metric: str
    limit: float
    side: Literal["least", "most"]

    def failures(self, group: Group) -> Iterator[str]:
        """A line for each method of a group that violates the bound; a mean without an interval always does."""
        for method in group.methods:
            # If the store holds two versions of a metric, neither has the plain name.
            cell = group.cells.get((method, self.metric))
            low, high = (None, None) if cell is None else (cell.estimate.low, cell.estimate.high)
            found = low if self.side == "least" else high
            if found is None or (found < self.limit if self.side == "least" else found > self.limit):
                end = "lower" if self.side == "least" else "upper"
                shown = "unknown (too few photos)" if found is None else f"{found:.3f}"
                yield f"{method}  {self.metric}: {end} end {shown}, wanted at {self.side} {self.limit:g}"


def read_bounds(fail_under: Given, fail_over: Given, metrics: Sequence[str]) -> list[Bound]:
    """The bounds; raises UsageError for a metric that is not scored."""
    bounds = [Bound(*bound, "least") for bound in parsed(fail_under, "--fail-under")]
    bounds += [Bound(*bound, "most") for bound in parsed(fail_over, "--fail-over")]
    for bound in bounds:
        if bound.metric not in metrics:
            raise UsageError(
                f"a bound is set on {bound.metric}, which is not scored",
                expected=", ".join(metrics),
                hint=f"Add --metric {bound.metric}.",
            )
    return bounds


def parsed(given: Given, option: str) -> Iterator[tuple[str, float]]:
    """Parse metric labels and numbers."""
    if isinstance(given, Mapping):
        given = [f"{name}={limit}" for name, limit in given.items()]
    for text in [given] if isinstance(given, str) else given:
        name, _, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not (name and math.isfinite(limit)):
            raise UsageError(f"{option} {text} is no bound", expected="METRIC=NUMBER, such as insertion=0.5")
        yield make_metric(name).label, limit


def failures_of(groups: Sequence[Group], bounds: Sequence[Bound]) -> list[str]:
    """A line for each violated bound."""
    if bounds and not groups:
        return ["nothing was scored"]
    return [line for group in groups for bound in bounds for line in bound.failures(group)]
