"""A verdict: one line of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.rules import Level, Rule
from xaicli.results.intervals import Estimate

NAMED = 3
"""Maximum photos that a failure names."""

State = Literal["ok", "fail", "inconclusive", "note"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """One line of a check.

    level: what a failure means; value, low, high: what was found, with its interval; worst: photos to look at first, each with a
    number; places: their positions in the baseline; test: the test behind interval and p; p: of the failure, before Holm, None if
    chance plays no part.
    """

    state: State
    what: str
    text: str
    level: Level = "error"
    method: str = ""
    metric: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    worst: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    test: str = ""
    p: float | None = field(default=None, compare=False)

    @property
    def failed(self) -> bool:
        """Whether this verdict makes the check fail."""
        return self.state == "fail" and self.level == "error"

    @property
    def warns(self) -> bool:
        return self.state == "fail" and self.level == "warn"

    @property
    def open(self) -> bool:
        """Whether this verdict makes the check fail under --strict."""
        return self.state == "inconclusive" and self.level == "error"

    @classmethod
    def of(
        cls, state: State, what: str, text: str, estimate: Estimate, rule: Rule | None, method: str = "", **further: Any
    ) -> Verdict:
        """A verdict on an estimate by a rule; without a rule it is only recorded."""
        level, metric = (rule.level, rule.metric) if rule else ("error", what)
        ends = (estimate.value, estimate.low, estimate.high)
        return cls(state, what, text, level, method, metric, *ends, test=estimate.test, **further)


def named(photos: Sequence[PhotoResult], places: Sequence[int], numbers: Sequence[str] = ()) -> dict[str, Any]:
    """The first of these photos, for a verdict: each by its path, with its number if it has one."""
    first = places[:NAMED]
    shown = [f" {number}" for number in numbers[:NAMED]] or [""] * len(first)
    return {"worst": tuple(photos[at].image + number for at, number in zip(first, shown, strict=True)), "places": tuple(first)}


def with_interval(estimate: Estimate, values: Floats, *, signed: bool = False) -> str:
    """`0.71 [0.66, 0.75] by paired t`, with n if values are missing. One photo has no interval, and neither have values that are
    all equal."""
    form = "+.3f" if signed else ".3f"
    missing = f" (n = {estimate.n} of {estimate.of})" if estimate.n < estimate.of else ""
    if estimate.value is None:
        known = values[~np.isnan(values)]
        return f"{known[0]:{form}} (one photo)" if len(known) == 1 else "no value"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}} on every photo{missing}"
    optimistic = ", optimistic" if estimate.optimistic else ""
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}] by {estimate.test}{optimistic}{missing}"
