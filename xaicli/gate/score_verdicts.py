"""Verdicts on scores: their change against a tolerance, their mean against bounds, insertion against the controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from xaicli.gate.baseline import Baseline
from xaicli.gate.measure import ReadySuite
from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.rules import RETRAINED, Rule, is_insertion
from xaicli.gate.verdict import Floats, State, Verdict, named, with_interval
from xaicli.metric import Direction, Quantity, ValueKind
from xaicli.registry import CONTROLS as CONTROL_METHODS
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.needed import needed_to_judge, too_few
from xaicli.rows import OTHER
from xaicli.words import count


def score_verdict(rule: Rule, label: str, ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    """Judge a method's scores under one metric: their change since the baseline, photo by photo, or their mean against bounds.

    A value that is missing now and was there before always fails, and so do scores without any value.
    """
    old, new = (values_of(photos, label, rule.metric) for photos in (baseline.photos, now))
    gone = np.flatnonzero(np.isnan(new) & ~np.isnan(old)).tolist()
    lacking = ""
    if gone:
        lacking = f"{len(gone)} of {count(len(now), 'photo')} have no value now: {reasons(now, gone, label, rule.metric)}"
    elif np.isnan(new).all():
        lacking = "no photo has a value"
    elif rule.tolerance is not None and np.isnan(new - old).all():
        lacking = "no photo has a value at the baseline"
    if lacking:
        return Verdict("fail", rule.metric, lacking, rule.level, label, rule.metric, **named(now, gone))
    metric = next(metric for metric in ready.metrics if metric.label == rule.metric)
    quantity = metric.quantity_of(ready.classifier.outputs.value)
    if rule.tolerance is None:
        return by_bounds(rule, label, new, now, quantity)
    worse = 0.0
    if ready.suite.expect == RETRAINED and metric.direction is not Direction.NEITHER:
        worse = 1.0 if metric.direction is Direction.LOWER else -1.0
    return by_tolerance(rule, label, new - old, now, quantity, worse=worse)


def values_of(photos: Iterable[PhotoResult], label: str, metric: str) -> Floats:
    """Values by photo; NaN if a photo has none or its row is missing."""
    scores = [photo.scores.get((label, metric)) for photo in photos]
    return np.array([np.nan if score is None or score.value is None else score.value for score in scores], dtype=np.float64)


def reasons(photos: Sequence[PhotoResult], places: Sequence[int], label: str, metric: str) -> str:
    found = (photos[at].scores.get((label, metric)) for at in places)
    return ", ".join(sorted({"not scored" if score is None else score.status for score in found}))


def by_tolerance(
    rule: Rule, label: str, change: Floats, now: Sequence[PhotoResult], quantity: Quantity, *, worse: float
) -> Verdict:
    """Fail if the interval of the change (photos,) of a quantity lies wholly beyond the tolerance, pass if it lies wholly inside.

    worse: the sign of a change for the worse, 0 if any change counts.
    """
    estimate, tolerance = stats.change(change, quantity), rule.tolerance or 0.0
    text = f"{with_interval(estimate, change, signed=True)}, tolerance {tolerance:g}"
    low, high = (-np.inf if worse > 0 else -tolerance), (np.inf if worse < 0 else tolerance)
    # Scores that agree to the last bit leave no doubt, unless they are binary: those agree easily.
    exact = quantity.kind is not ValueKind.BINARY or worse == 0
    if exact and not np.isnan(change).all() and not np.nan_to_num(change).any():
        return Verdict.of("ok", rule.metric, text, estimate, rule, label)
    state, p, text = held_against(estimate, change, low, high, text, quantity, paired=True)
    order = np.argsort(np.where(np.isnan(change), np.inf, -np.abs(change) if worse == 0 else -change * worse), kind="stable")
    places = [int(at) for at in order if not np.isnan(change[at])]
    further = named(now, places, [f"{change[at]:+.2f}" for at in places]) if state == "fail" else {}
    return Verdict.of(state, rule.metric, text, estimate, rule, label, p=p, **further)


def by_bounds(rule: Rule, label: str, values: Floats, now: Sequence[PhotoResult], quantity: Quantity) -> Verdict:
    """Judge the mean itself by bounds: pass if the whole interval is within them, fail if it is wholly outside."""
    estimate = stats.mean(values, quantity)
    low = -np.inf if rule.at_least is None else rule.at_least
    high = np.inf if rule.at_most is None else rule.at_most
    wanted = [f"at least {low:g}"] if np.isfinite(low) else []
    wanted += [f"at most {high:g}"] if np.isfinite(high) else []
    text = f"{with_interval(estimate, values)}, {' and '.join(wanted)} wanted"
    state, p, text = held_against(estimate, values, low, high, text, quantity, paired=False)
    above = estimate.low is not None and estimate.low > high
    places = [int(at) for at in np.argsort(-values if above else values, kind="stable") if not np.isnan(values[at])]
    further = named(now, places, [f"{values[at]:.2f}" for at in places]) if state == "fail" else {}
    return Verdict.of(state, rule.metric, text, estimate, rule, label, p=p, **further)


def held_against(
    estimate: Estimate, values: Floats, low: float, high: float, text: str, quantity: Quantity, *, paired: bool
) -> tuple[State, float | None, str]:
    """Whether an interval lies within limits, outside, or across them: the state, p of the failure, and the text with its reason.

    values: (photos,) of the quantity or, if `paired`, differences of two.
    """
    if estimate.value is None:
        return "inconclusive", None, f"{text}; one photo has no interval"
    if estimate.low is None or estimate.high is None:
        return "inconclusive", None, f"{text}; equal values have no interval, since they say nothing of their spread"
    if estimate.low >= low and estimate.high <= high:
        return "ok", 1.0, text
    if estimate.high < low or estimate.low > high:
        bound = low if estimate.high < low else high
        p = stats.change(values - bound).p if paired else stats.p_against(values, bound, quantity)
        return "fail", estimate.p if p is None else p, text
    needed = needed_to_judge(values, low, high, quantity, paired=paired)
    return "inconclusive", 1.0, f"{text}; {too_few(estimate.n, needed)}"


def controls_verdicts(rule: Rule, ready: ReadySuite, methods: Sequence[str], now: Sequence[PhotoResult]) -> Iterator[Verdict]:
    """Judge insertion against the controls: the maps of a method that does not beat them are worthless."""
    for metric, quantity in ((metric.label, metric.quantity) for metric in ready.metrics if is_insertion(metric.label)):
        for label in methods:
            for control in controls_of(ready, label, len(now)):
                difference = values_of(now, label, metric) - values_of(now, control, metric)
                estimate = stats.change(difference, quantity)
                text = f"{metric} minus that of {control}: {with_interval(estimate, difference, signed=True)}"
                if np.isnan(difference).all():
                    text = f"{metric}: no photo has a value"
                    yield Verdict.of("fail", f"beats {control.partition('@')[0]}", text, estimate, rule, label)
                    continue
                state, p, text = held_against(estimate, difference, 0.0, np.inf, text, quantity, paired=True)
                places = [int(at) for at in np.argsort(difference, kind="stable") if not np.isnan(difference[at])]
                further = named(now, places, [f"{difference[at]:+.2f}" for at in places]) if state == "fail" else {}
                yield Verdict.of(state, f"beats {control.partition('@')[0]}", text, estimate, rule, label, p=p, **further)


def controls_of(ready: ReadySuite, label: str, photos: int) -> list[str]:
    """The labels of a method's controls; with one photo there is no control `other`."""
    return [control for control in CONTROL_METHODS if control != label] + [f"{OTHER}@base={label}"] * (photos > 1)
