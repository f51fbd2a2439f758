"""From two runs of a suite to verdicts: one a rule, a method and a metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from xaicli.gate.baseline import Baseline
from xaicli.gate.measure import Bench, PhotoResult
from xaicli.gate.similarity import Similarity, similarity
from xaicli.gate.suite import CONFIDENCE, CONTROLS, DECISIONS, MAP_SIMILARITY, RETRAINED, SAME_MODEL, Rule
from xaicli.metric import Direction
from xaicli.results import stats
from xaicli.results.stats import Estimate

FLOOR = Similarity(spearman=0.98, overlap=0.80)
"""What maps of deterministic methods must reach where the model is the same."""

CHANCE = 0.02
"""The share of an unchanged model's maps that may fall below the floor of a stochastic method."""
LEVEL = 0.05
TOLERANCE = 0.02
"""The change of a score that a suite without rules allows."""
NAMED = 3

State = Literal["ok", "fail", "inconclusive", "note"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """One line of a check. `level` says what a failure means; `worst`: photos to look at first; p: of the failure, before Holm."""

    state: State
    what: str
    text: str
    level: Literal["error", "warn"] = "error"
    method: str = ""
    metric: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    worst: tuple[str, ...] = ()
    p: float | None = field(default=None, compare=False)

    @property
    def failed(self) -> bool:
        return self.state == "fail" and self.level == "error"


def default_rules(bench: Bench) -> list[Rule]:
    """What holds where the suite states no rules."""
    scores = [Rule(metric.label, tolerance=TOLERANCE) for metric in bench.metrics if metric.direction is not Direction.NEITHER]
    if bench.suite.expect == SAME_MODEL:
        return [Rule(MAP_SIMILARITY), *scores]
    return [Rule(CONTROLS), *scores]


def judge(bench: Bench, baseline: Baseline, now: Sequence[PhotoResult]) -> list[Verdict]:
    """All verdicts, Holm-corrected over those that rest on chance."""
    rules = list(bench.suite.rules) or default_rules(bench)
    verdicts = [*facts(bench, baseline, now, rules)]
    for rule in rules:
        methods = [method.label for method in bench.methods if rule.method in ("", method.label)]
        if rule.metric == MAP_SIMILARITY:
            verdicts += [map_verdict(rule, label, bench, baseline, now) for label in methods]
        elif rule.metric == CONTROLS:
            verdicts += controls_verdicts(rule, bench, methods, now)
        elif rule.metric not in (CONFIDENCE, DECISIONS):
            verdicts += [score_verdict(rule, label, bench, baseline, now) for label in methods]
    return corrected(verdicts)


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """A failure that rests on chance stands only where it survives Holm's correction over all such rules."""
    places = [at for at, verdict in enumerate(verdicts) if verdict.p is not None]
    adjusted = stats.holm([verdicts[at].p or 0.0 for at in places])
    result = list(verdicts)
    for at, p in zip(places, adjusted, strict=True):
        if result[at].state == "fail" and p >= LEVEL:
            text = f"{result[at].text}; with {len(places)} rules this can be chance (p = {p:.2f})"
            result[at] = replace(result[at], state="inconclusive", text=text)
    return result


# What is known without statistics


def facts(bench: Bench, baseline: Baseline, now: Sequence[PhotoResult], rules: Sequence[Rule]) -> Iterator[Verdict]:
    """The layer, the model, confidence and decisions: verdicts of their own, since faults can improve a score."""
    for label, layer in bench.layers().items():
        before = baseline.layers.get(label, layer)
        if before != layer:
            state: State = "fail" if bench.suite.expect == SAME_MODEL else "note"
            yield Verdict(state, "layer", f"{before} at the baseline, {layer} now", method=label, metric="layer")
    if baseline.fingerprint != bench.classifier.fingerprint:
        text = f"{baseline.fingerprint} at the baseline, {bench.classifier.fingerprint} now"
        yield Verdict("note", "model", text, metric="fingerprint")
    yield decisions_verdict(rule_for(rules, DECISIONS), baseline, now)
    yield confidence_verdict(rule_for(rules, CONFIDENCE), baseline, now)


def rule_for(rules: Sequence[Rule], metric: str) -> Rule | None:
    return next((rule for rule in rules if rule.metric == metric), None)


def decisions_verdict(rule: Rule | None, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    changed = [new.image for old, new in zip(baseline.photos, now, strict=True) if old.decision != new.decision]
    share = len(changed) / len(now)
    text = f"changed on {len(changed)} of {len(now)} photos (not counted against the maps)"
    limit = rule.at_most if rule is not None else None
    if limit is None:
        return Verdict("note" if changed else "ok", DECISIONS, text, metric=DECISIONS, value=share, worst=tuple(changed[:NAMED]))
    state: State = "ok" if share <= limit else "fail"
    text = f"{text}, at most {limit:.0%} wanted"
    level = rule.level if rule else "error"
    return Verdict(state, DECISIONS, text, level, metric=DECISIONS, value=share, worst=tuple(changed[:NAMED]))


def confidence_verdict(rule: Rule | None, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    change = np.array([new.probability - old.probability for old, new in zip(baseline.photos, now, strict=True)])
    estimate = stats.mean(change)
    text = f"{with_interval(estimate, change)} in the probability of the baseline's class"
    if rule is None or rule.tolerance is None:
        moved = estimate.low is not None and estimate.high is not None and (estimate.low > 0 or estimate.high < 0)
        return verdict_of("note" if moved else "ok", CONFIDENCE, text, estimate)
    return by_tolerance(rule, CONFIDENCE, "", change, baseline, two_sided=True, text=text)


# Maps


def map_verdict(rule: Rule, label: str, bench: Bench, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    """Are the maps those of the baseline: every one for a deterministic method, all but what chance explains for a stochastic."""
    found = [
        similarity(old.maps[label], new.maps[label], bench.classifier.view.size)
        for old, new in zip(baseline.photos, now, strict=True)
    ]
    floor = baseline.floors.get(label, FLOOR)
    if rule.at_least is not None:
        floor = Similarity(rule.at_least, floor.overlap)
    below = [at for at, one in enumerate(found) if not one.reaches(floor)]
    order = sorted(range(len(found)), key=lambda at: (score_of(found[at]), at))
    worst = tuple(f"{now[at].image} {found[at].spearman:.2f}" for at in order[:NAMED] if at in below)
    values = np.array([one.spearman for one in found])
    estimate = stats.mean(values)
    overlap = float(np.mean([one.overlap for one in found]))
    text = (
        f"{with_interval(estimate, values)}, top-tenth overlap {overlap:.2f}; at least {floor.spearman:.2f} and {floor.overlap:.2f} "
        f"wanted, {len(below)} of {len(found)} photos below"
    )
    p = None
    failed = bool(below)
    if label in baseline.floors and not np.isnan(values).any():
        p = float(distributions.binom.sf(len(below) - 1, len(found), CHANCE))
        failed = p < LEVEL
    state: State = "fail" if failed else "ok"
    return verdict_of(state, "map similarity", text, estimate, rule, label, MAP_SIMILARITY, worst, p)


def score_of(one: Similarity) -> float:
    return -2.0 if np.isnan(one.spearman) else min(one.spearman - FLOOR.spearman, one.overlap - FLOOR.overlap)


# Scores


def score_verdict(rule: Rule, label: str, bench: Bench, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    old, new = (values_of(photos, label, rule.metric) for photos in (baseline.photos, now))
    if old is None or new is None:
        where = "baseline" if old is None else "run"
        return Verdict("fail", rule.metric, f"not scored in this {where}", rule.level, label, rule.metric)
    gone = [photo.image for photo, before, after in zip(now, old, new, strict=True) if np.isnan(after) and not np.isnan(before)]
    if gone:
        text = f"{len(gone)} of {len(now)} photos have no value now"
        return Verdict("fail", rule.metric, text, rule.level, label, rule.metric, worst=tuple(gone[:NAMED]))
    if np.isnan(new).all():
        return Verdict("fail", rule.metric, "no photo has a value", rule.level, label, rule.metric)
    if rule.at_least is not None or rule.at_most is not None:
        return by_bound(rule, label, new)
    metric = next(metric for metric in bench.metrics if metric.label == rule.metric)
    sign = -1.0 if metric.direction is Direction.LOWER else 1.0
    change = new - old
    two_sided = bench.suite.expect != RETRAINED or metric.direction is Direction.NEITHER
    text = f"{with_interval(stats.mean(change), change)}, tolerance {rule.tolerance:g}"
    return by_tolerance(rule, rule.metric, label, change * sign, baseline, two_sided=two_sided, text=text)


def values_of(photos: Iterable[PhotoResult], label: str, metric: str) -> Floats | None:
    """Values by photo, NaN where there is none; None where the pair was not scored."""
    listed = list(photos)
    if any((label, metric) not in photo.scores for photo in listed):
        return None
    values = [photo.scores[label, metric].value for photo in listed]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def by_tolerance(
    rule: Rule, what: str, label: str, change: Floats, baseline: Baseline, *, two_sided: bool, text: str
) -> Verdict:
    """Fail where the interval lies wholly beyond the tolerance, pass where wholly inside, else inconclusive.

    change: positive is better, unless both sides count.
    """
    estimate, tolerance = stats.mean(change), rule.tolerance or 0.0
    if estimate.low is None or estimate.high is None or estimate.value is None:
        return verdict_of("inconclusive", what, f"{text}; one photo has no interval", estimate, rule, label, what)
    worse = estimate.high < -tolerance
    beyond = worse or (two_sided and estimate.low > tolerance)
    inside = estimate.low >= -tolerance and (not two_sided or estimate.high <= tolerance)
    nearest = tolerance if estimate.value > 0 and two_sided else -tolerance
    p = stats.mean(change - nearest).p if beyond else 1.0
    order = np.argsort(np.where(np.isnan(change), np.inf, change if not two_sided else -np.abs(change)))
    worst = tuple(f"{baseline.photos[at].image} {change[at]:+.2f}" for at in order[:NAMED]) if beyond else ()
    if not (beyond or inside):
        needed = stats.photos_needed(stats.spread_of(estimate), abs(tolerance - abs(estimate.value)))
        many = f"about {needed:.0f} would do" if np.isfinite(needed) else "no number of photos would do"
        text = f"{text}; {estimate.n} photos cannot tell, {many}"
    state: State = "fail" if beyond else "ok" if inside else "inconclusive"
    return verdict_of(state, what, text, estimate, rule, label, what, worst, p)


def by_bound(rule: Rule, label: str, values: Floats) -> Verdict:
    """Against bounds on the mean itself, read at the interval's ends."""
    estimate = stats.mean(values)
    wanted = [f"at least {rule.at_least:g}"] if rule.at_least is not None else []
    wanted += [f"at most {rule.at_most:g}"] if rule.at_most is not None else []
    text = f"{with_interval(estimate, values)}, {' and '.join(wanted)} wanted"
    if estimate.low is None or estimate.high is None:
        return verdict_of("inconclusive", rule.metric, f"{text}; one photo has no interval", estimate, rule, label, rule.metric)
    low, high = -np.inf if rule.at_least is None else rule.at_least, np.inf if rule.at_most is None else rule.at_most
    beyond = estimate.high < low or estimate.low > high
    inside = estimate.low >= low and estimate.high <= high
    state: State = "fail" if beyond else "ok" if inside else "inconclusive"
    limit = low if estimate.high < low or not np.isfinite(high) else high
    p = stats.mean(values - limit).p if beyond else 1.0
    return verdict_of(state, rule.metric, text, estimate, rule, label, rule.metric, (), p)


def controls_verdicts(rule: Rule, bench: Bench, methods: Sequence[str], now: Sequence[PhotoResult]) -> Iterator[Verdict]:
    """Insertion against the controls: a method that does not beat them draws maps that say nothing."""
    metric = next((metric for metric in bench.metrics if metric.name == "insertion"), None)
    if metric is None:
        return
    for label in methods:
        for control in bench.controls:
            own, other = values_of(now, label, metric.label), values_of(now, control.label, metric.label)
            if own is None or other is None:
                continue
            estimate = stats.mean(own - other)
            text = f"{metric.label} less that of {control.label}: {with_interval(estimate, own - other)}"
            state: State = "inconclusive"
            if estimate.low is not None and estimate.high is not None:
                state = "ok" if estimate.low > 0 else "fail" if estimate.high < 0 else "inconclusive"
            p = estimate.p if state == "fail" else 1.0
            yield verdict_of(state, f"beats {control.label}", text, estimate, rule, label, CONTROLS, (), p)


def verdict_of(
    state: State,
    what: str,
    text: str,
    estimate: Estimate,
    rule: Rule | None = None,
    method: str = "",
    metric: str = "",
    worst: tuple[str, ...] = (),
    p: float | None = None,
) -> Verdict:
    level = rule.level if rule is not None else "error"
    return Verdict(state, what, text, level, method, metric or what, estimate.value, estimate.low, estimate.high, worst, p)


def with_interval(estimate: Estimate, values: Floats) -> str:
    """`0.71 [0.66, 0.75]`, n among it where values are missing; one photo has a value and no interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        known = values[~np.isnan(values)]
        return f"{known[0]:.3f} (one photo)" if len(known) == 1 else "no value"
    missing = f" (n = {estimate.n} of {estimate.of})" if estimate.n < estimate.of else ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]{missing}"
