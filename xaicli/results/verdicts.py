"""Sentences under a table: what the intervals say, so that nobody has to read overlap by eye."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from xaicli.results.intervals import Estimate
from xaicli.results.summary import OTHER, SIGNIFICANT, Comparison, Group

MOST_PHOTOS = 1_000_000
"""More than this is no advice."""
MOST_PAIRS = 12


def sentences(group: Group) -> list[str]:
    """What cannot be told apart, what does not beat its controls, and what has no value."""
    if group.photos == 1:
        return ["One photo has no interval and compares nothing: give more photos.", *absences(group)]
    undecided = ties(group)
    shown = undecided[:MOST_PAIRS]
    if len(undecided) > MOST_PAIRS:
        shown.append(f"{len(undecided) - MOST_PAIRS} more pairs cannot be told apart (--format json has all comparisons).")
    return [*shown, *defeats(group), *absences(group)]


def ties(group: Group) -> list[str]:
    """Neighbours in the ranking under each metric that the photos do not tell apart."""
    by_pair = {(c.metric, frozenset((c.first, c.second))): c for c in group.comparisons if not c.control}
    result = []
    for metric in group.metrics:
        ranked = ranking(group, metric)
        for pair in itertools.pairwise(ranked):
            comparison = by_pair.get((metric, frozenset(pair)))
            if comparison is not None and not comparison.significant:
                result.append(tie(comparison, len(group.comparisons)))
    return result


def ranking(group: Group, metric: str) -> list[str]:
    """Methods by their mean, the best first."""
    values = {method: group.cells[method, metric].estimate.value for method in group.methods if (method, metric) in group.cells}
    known = {method: value for method, value in values.items() if value is not None}
    return sorted(known, key=lambda method: known[method], reverse=group.recipe(metric).direction == "higher")


def tie(comparison: Comparison, comparisons: int) -> str:
    difference = comparison.difference
    text = f"{comparison.first} and {comparison.second} cannot be told apart on {comparison.metric} with {difference.n:,} photos"
    if difference.p is not None and difference.p < SIGNIFICANT:
        return f"{text} once {comparisons} comparisons are allowed for (difference {with_interval(difference)})."
    text += f" (difference {with_interval(difference)})"
    if comparison.needed > MOST_PHOTOS:
        return f"{text}."
    return f"{text}; about {roughly(comparison.needed):,} would do."


def defeats(group: Group) -> list[str]:
    """Methods that do not beat a control, or are worse than it; the maps of other photos are one control."""
    result = []
    controls = dict.fromkeys(OTHER if control.startswith(OTHER) else control for control in group.controls)
    for metric in group.metrics:
        upwards = group.recipe(metric).direction == "higher"
        for control in controls:
            mine = [c for c in group.comparisons if c.control and c.metric == metric]
            against = [c for c in mine if (OTHER if c.second.startswith(OTHER) else c.second) == control]
            worse = [c.first for c in against if c.significant and ((c.difference.value or 0.0) > 0) != upwards]
            level = [c.first for c in against if not c.significant]
            if level:
                verb = "does" if len(level) == 1 else "do"
                result.append(f"{joined(level)} {verb} not beat {named(control, level)} on {metric}.")
            if worse:
                verb = "is" if len(worse) == 1 else "are"
                result.append(f"{joined(worse)} {verb} worse than {named(control, worse)} on {metric}.")
    return result


def named(control: str, methods: Sequence[str]) -> str:
    """A control as a sentence calls it."""
    if control != OTHER:
        return control
    return "its own map of another photo" if len(methods) == 1 else "their own maps of other photos"


def absences(group: Group) -> list[str]:
    """Cells that are not a mean over all photos, and why; methods and metrics that share a reason share a sentence."""
    methods_of: dict[tuple[str, int, str], list[str]] = {}
    for (method, metric), cell in group.cells.items():
        lost = cell.estimate.of - cell.estimate.n
        if not lost:
            continue
        reasons = [f"{count:,} {status}" for status, count in cell.statuses.items()]
        unscored = lost - sum(cell.statuses.values())
        if unscored > 0:
            reasons.append(f"{unscored:,} not scored")
        methods_of.setdefault((metric, lost, ", ".join(reasons)), []).append(method)
    metrics_of: dict[tuple[tuple[str, ...], int, str], list[str]] = {}
    for (metric, lost, why), methods in methods_of.items():
        metrics_of.setdefault((tuple(methods), lost, why), []).append(metric)
    result = []
    for (who, lost, why), metrics in metrics_of.items():
        verb = "has" if len(who) == 1 else "have"
        result.append(f"{joined(who)} {verb} no {joined(metrics)} for {lost:,} of {group.photos:,} photos: {why}.")
    return result


def joined(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def roughly(count: float) -> int:
    """Two leading digits, rounded up: more would be a pretence."""
    step = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / step) * step


def decimals_of(estimate: Estimate) -> int:
    """Decimals that the width of the interval bears: 2 at a half width of 0.04, 1 at 3.3."""
    if estimate.low is None or estimate.high is None or estimate.value is None:
        return 0
    half = (estimate.high - estimate.low) / 2
    least = 2 if max(abs(estimate.low), abs(estimate.high)) < 10 else 1
    return least if half <= 0 else min(6, max(least, math.ceil(-math.log10(half))))


def with_interval(estimate: Estimate, decimals: int | None = None) -> str:
    """`0.61 [0.57, 0.65]`."""
    places = decimals_of(estimate) if decimals is None else decimals
    numbers = (number(part, places) for part in (estimate.value, estimate.low, estimate.high))
    return "{} [{}, {}]".format(*numbers)


def number(value: float | None, decimals: int) -> str:
    """A number with so many decimals; a zero has no sign."""
    text = f"{value:.{decimals}f}" if value is not None else "–"
    return text.removeprefix("-") if not text.strip("-0.") else text
