"""Sentences under a table: what the intervals and tests show, so that nobody has to judge overlaps by eye."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from xaicli.metric import CONSTANT, EMPTY_TRUTH, NO_TRUTH, NON_FINITE, UNDEFINED, ValueKind
from xaicli.results.comparisons import BORROWED, SIGNIFICANT, Comparison
from xaicli.results.intervals import FEWEST, FEWEST_SKEWED, Estimate
from xaicli.results.needed import MOST_PHOTOS, roughly
from xaicli.results.summary import Group
from xaicli.words import count

MOST_PAIRS = 12
FITTED_MARK = "†"
"""Beside a score by the metric to which the map was fitted."""
REASONS = {
    CONSTANT: "map is constant, no score",
    NON_FINITE: "map is not finite, no score",
    NO_TRUTH: "nobody marked the target",
    EMPTY_TRUTH: "the target is marked outside what the model sees",
    UNDEFINED: "the metric has no value there",
}
"""Statuses in words."""
SAID = {"not shown": ("is not shown to beat", "are not shown to beat"), "worse": ("is worse than", "are worse than")}


def sentences(group: Group) -> list[str]:
    """Sentences on methods that cannot be told apart, methods that are not shown to beat their controls, and missing values."""
    if group.photos == 1:
        return ["One photo has no interval and compares nothing: give more photos.", *fits(group), *absences(group)]
    undecided = ties(group)
    shown = undecided[:MOST_PAIRS]
    if len(undecided) > MOST_PAIRS:
        shown.append(f"{len(undecided) - MOST_PAIRS} more pairs cannot be told apart (--format json has all comparisons).")
    return [*shown, *defeats(group), *optimism(group), *fits(group), *absences(group)]


def fits(group: Group) -> list[str]:
    """A sentence on scores by the metric to which a method fitted its maps."""
    fitted = {method: cell.recipe.metric_content["name"] for (method, _), cell in group.cells.items() if cell.recipe.fitted}
    pairs = [f"{method} was fitted to {metric}" for method, metric in fitted.items()]
    if not pairs:
        return []
    beside = "judge it by another metric" if len(pairs) == 1 else "judge them by other metrics"
    return [f"{FITTED_MARK} {joined(pairs)}: no independent judgement; {beside}."]


def ties(group: Group) -> list[str]:
    """For each metric, neighbours in the ranking that these photos do not distinguish."""
    by_pair = {(c.metric, frozenset((c.first, c.second))): c for c in group.comparisons if not c.control}
    result = []
    for metric in group.metrics:
        for pair in itertools.pairwise(ranking(group, metric)):
            comparison = by_pair.get((metric, frozenset(pair)))
            if comparison is not None and not comparison.significant:
                result.append(tie(comparison))
    return result


def ranking(group: Group, metric: str) -> list[str]:
    """Methods by their mean, the best first."""
    values = {method: group.cells[method, metric].estimate.value for method in group.methods if (method, metric) in group.cells}
    known = {method: value for method, value in values.items() if value is not None}
    return sorted(known, key=lambda method: known[method], reverse=group.recipe(metric).direction == "higher")


def tie(comparison: Comparison) -> str:
    difference = comparison.difference
    if comparison.p is None:
        return untestable(comparison, comparison.second)
    text = f"{comparison.first} and {comparison.second} cannot be told apart on {comparison.metric} with {difference.n:,} photos"
    text += f" (difference {with_interval(difference)}; {tested([comparison])})"
    rejected_before = difference.p is not None and difference.p < SIGNIFICANT
    if rejected_before or comparison.needed > MOST_PHOTOS:
        return f"{text}."
    # The number is that of one test before any correction, and may be no more than the photos that just did not do.
    return f"{text}; about {roughly(max(comparison.needed, difference.n + 1)):,} needed."


def untestable(comparison: Comparison, second: str) -> str:
    """A sentence on two methods whose scores differ by the same amount on every photo."""
    difference = comparison.difference
    what = f"differ by the same {number(difference.value, 3)}" if difference.value else "score the same"
    return f"{comparison.first} and {second} {what} on {comparison.metric}, on each of {difference.n:,} photos: nothing to test."


def tested(comparisons: Sequence[Comparison]) -> str:
    """The test and its p-values, in words: `paired t, after correcting for 3 comparisons; unadjusted p = 0.03`."""
    first = comparisons[0]
    values = joined([probability(comparison.difference.p or 0.0) for comparison in comparisons])
    if first.among == 1:
        return f"{first.difference.test}, {values}"
    return f"{first.difference.test}, after correcting for {first.among} comparisons; unadjusted {values}"


def probability(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.1g}"


def defeats(group: Group) -> Iterator[str]:
    """Sentences on methods that are not shown to beat a control, or are worse than it; maps of other photos count as one
    control."""
    controls = dict.fromkeys(named(control) for control in group.controls)
    for metric in group.metrics:
        mine = [c for c in group.comparisons if c.control and c.metric == metric]
        for control in controls:
            against = [c for c in mine if named(c.second) == control]
            yield from (untestable(c, in_words(control, 1)) for c in against if c.p is None)
            # Methods share a sentence only if they have the same test, corrected for the same number of comparisons.
            alike: dict[tuple[str, str, int], list[Comparison]] = {}
            for c in against:
                if c.p is not None and c.state in SAID:
                    alike.setdefault((c.state, c.difference.test, c.among), []).append(c)
            yield from (against_control(found, control) for found in alike.values())


def against_control(comparisons: Sequence[Comparison], control: str) -> str:
    """One sentence on methods with the same result against a control."""
    count, said = len(comparisons), SAID[comparisons[0].state]
    alone = f"difference {with_interval(comparisons[0].difference)}; " if count == 1 else ""
    text = f"{joined([c.first for c in comparisons])} {said[count > 1]} {in_words(control, count)} on {comparisons[0].metric}"
    return f"{text} ({alone}{tested(comparisons)})."


def named(control: str) -> str:
    return BORROWED if control.startswith(BORROWED) else control


def in_words(control: str, methods: int) -> str:
    """The name of a control in a sentence about that many methods."""
    if control != BORROWED:
        return control
    return "its own map of another photo" if methods == 1 else "their own maps of other photos"


def optimism(group: Group) -> Iterator[str]:
    """Sentences on metrics whose intervals cover the truth less often than stated."""
    found = {metric: cell.recipe.quantity.kind for (_, metric), cell in group.cells.items() if cell.estimate.optimistic}
    skewed = [metric for metric, kind in found.items() if kind is ValueKind.SKEWED]
    others = [metric for metric in found if metric not in skewed]
    if others:
        yield f"~ With fewer than {FEWEST} photos the intervals of {joined(others)} are optimistic where scores are skewed."
    if skewed:
        yield f"~ {joined(skewed)}: scores are skewed; with fewer than {FEWEST_SKEWED} photos the interval is optimistic."


def absences(group: Group) -> list[str]:
    """Sentences on cells that are not a mean over all photos, and why; methods and metrics with the same reason share a
    sentence."""
    methods_of: dict[tuple[str, int, str], list[str]] = {}
    for (method, metric), cell in group.cells.items():
        lost = cell.estimate.of - cell.estimate.n
        if not lost:
            continue
        reasons = {REASONS.get(status, status): count for status, count in cell.statuses.items()}
        unscored = lost - sum(cell.statuses.values())
        if unscored > 0:
            reasons["not scored"] = unscored
        why = "; ".join(reason if len(reasons) == 1 else f"{reason} ({count:,})" for reason, count in reasons.items())
        methods_of.setdefault((metric, lost, why), []).append(method)
    metrics_of: dict[tuple[tuple[str, ...], int, str], list[str]] = {}
    for (metric, lost, why), methods in methods_of.items():
        metrics_of.setdefault((tuple(methods), lost, why), []).append(metric)
    result = []
    for (who, lost, why), metrics in metrics_of.items():
        verb = "has" if len(who) == 1 else "have"
        result.append(f"{joined(who)} {verb} no {joined(metrics)} for {lost:,} of {count(group.photos, 'photo')}: {why}.")
    return result


def joined(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def decimals_of(estimate: Estimate) -> int:
    """The number of decimals that the width of the interval justifies: 2 for a half width of 0.04, 1 for 3.3."""
    if estimate.low is None or estimate.high is None or estimate.value is None:
        return 0
    half = (estimate.high - estimate.low) / 2
    least = 2 if max(abs(estimate.low), abs(estimate.high)) < 10 else 1
    return least if half <= 0 else min(6, max(least, math.ceil(-math.log10(half))))


def with_interval(estimate: Estimate, decimals: int | None = None) -> str:
    """`0.61 [0.57, 0.65]`, with `~` if the interval is optimistic; equal values have no interval."""
    places = decimals_of(estimate) if decimals is None else decimals
    if estimate.low is None:
        return f"{number(estimate.value, max(places, 3))} (all equal)"
    numbers = (number(part, places) for part in (estimate.value, estimate.low, estimate.high))
    return "{} [{}, {}]".format(*numbers) + "~" * estimate.optimistic


def number(value: float | None, decimals: int) -> str:
    """A number with that many decimals; a zero has no sign."""
    text = f"{value:.{decimals}f}" if value is not None else "–"
    return text.removeprefix("-") if not text.strip("-0.") else text
