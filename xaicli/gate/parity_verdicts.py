"""Verdicts on two networks: decisions, probability, maps against the method's own noise, insertion on the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats as distributions

from xaicli.gate.map_similarity import Similarity, hardly_fails
from xaicli.gate.measure import ReadySuite
from xaicli.gate.outcome import Sides
from xaicli.gate.parity import Agreement, ComparedPhoto, PairRun, ParityOutcome, compare_photos
from xaicli.gate.rules import CONFIDENCE, CONTROLS, DECISIONS, MAP_SIMILARITY, Expect, Rule
from xaicli.gate.score_verdicts import score_verdict
from xaicli.gate.verdict import Verdict, named, with_interval
from xaicli.gate.verdicts import CORRELATION, LEVEL, SHIFT, confidence_verdict, corrected, decisions_verdict, facts
from xaicli.metric import Direction
from xaicli.outputs import Outputs
from xaicli.results import stats
from xaicli.words import count

SHIFT_OF_PROBABILITY = 0.05
"""How far the mean probability of the original's decision may move."""
TOLERANCE = 0.02
"""By how much, as a share of the metric's range, maps of the other network may score worse on the original."""
RARE = 0.05
"""The share of a faithful network's maps that may lie below their floors."""


def default_rules(ready: ReadySuite) -> tuple[Rule, ...]:
    """The rules of a comparison that states none; values have no range, and so no tolerance that suits them."""
    outputs = ready.classifier.outputs
    judged = [metric for metric in ready.metrics if metric.direction is not Direction.NEITHER]
    ranges = {metric.label: (of.low, of.high) for metric in judged for of in [metric.quantity_of(outputs.value)]}
    scores = [Rule(label, tolerance=TOLERANCE * (high - low)) for label, (low, high) in ranges.items() if np.isfinite(high - low)]
    confidence = [] if outputs is Outputs.VALUES else [Rule(CONFIDENCE, tolerance=SHIFT_OF_PROBABILITY)]
    return (Rule(MAP_SIMILARITY), *confidence, *scores)


def judge_pair(ready: ReadySuite, other: ReadySuite, pair: PairRun, rules: Sequence[Rule]) -> ParityOutcome:
    """The outcome of a comparison by rules; a rule about controls is only noted."""
    size = ready.classifier.view.size
    compared = compare_photos(pair, size)
    baseline, now = pair.baseline, pair.now
    models = ready.classifier.name, other.classifier.name
    verdicts = [as_note(one) for one in facts(other, baseline, now, (f"in {models[0]}", f"in {models[1]}"))]
    for rule in rules:
        labels = [method.label for method in ready.methods if rule.method in ("", method.label)]
        if rule.metric == MAP_SIMILARITY:
            verdicts += [agreement_verdict(rule, label, pair, compared, size) for label in labels]
        elif rule.metric == CONTROLS:
            verdicts.append(Verdict("note", CONTROLS, "two networks are compared with each other, not with controls"))
        elif rule.metric == DECISIONS:
            verdicts.append(decisions_verdict(rule, ready, baseline, now))
        elif rule.metric == CONFIDENCE:
            verdicts.append(confidence_verdict(rule, ready, baseline, now))
        else:
            verdicts += [score_verdict(rule, label, one_sided(ready), baseline, now) for label in labels]
    asked = {rule.metric for rule in rules}
    if CONFIDENCE not in asked:
        verdicts.append(confidence_verdict(None, ready, baseline, now))
    if DECISIONS not in asked and ready.classifier.outputs is not Outputs.VALUES:
        verdicts.append(decisions_verdict(None, ready, baseline, now))
    sides = Sides("xai parity", models[0], "on " + models[0], "on " + models[1], models[1])
    fingerprint = other.classifier.fingerprint
    return ParityOutcome(
        tuple(corrected(verdicts)), baseline, now, ready.sources, sides, compared, models, fingerprint=fingerprint
    )


def one_sided(ready: ReadySuite) -> ReadySuite:
    """The suite for scores of the other network's maps on the original, of which only a worse one is a fault."""
    retrained: Expect = "retrained"
    return replace(ready, suite=replace(ready.suite, expect=retrained))


def as_note(verdict: Verdict) -> Verdict:
    """Another layer and another view are what a comparison is about: only maps that are not finite fail."""
    return verdict if verdict.what == "maps" else replace(verdict, state="note")


def agreement_verdict(rule: Rule, label: str, pair: PairRun, compared: Sequence[ComparedPhoto], size: tuple[int, int]) -> Verdict:
    """Judge whether maps agree as well as two of the original's do.

    It fails if more maps are below their floors than in a twentieth of the photos by chance, or if the mean correlation is
    certainly lower than between two maps of the original by more than SHIFT. With a rule's `at_least`, every map must reach that.
    """
    agreements = [photo.agreements[label] for photo in compared]
    values = np.array([one.found.spearman for one in agreements])
    noise = np.array([one.noise.spearman for one in agreements])
    estimate = stats.mean(values, CORRELATION)
    overlap = float(np.mean([one.found.overlap for one in agreements]))
    text = f"{with_interval(estimate, values)}, top-tenth overlap {overlap:.2f}; "
    if rule.at_least is not None:
        asked = Similarity(rule.at_least, 0.0)
        below = [at for at, one in enumerate(agreements) if not one.found.reaches(asked)]
        p = None
        text += f"at least {rule.at_least:.2f} wanted"
    else:
        below = [at for at, one in enumerate(agreements) if not one.holds]
        p = p_of(agreements)
        own = float(np.mean([one.noise.overlap for one in agreements]))
        text += f"{noise.mean():.3f} and {own:.2f} between two of {pair.baseline.model}"
    text += f", {len(below)} of {count(len(agreements), 'photo')} below"
    failed = bool(below) if p is None else p < LEVEL
    if p is not None and not failed:
        text += hardly_fails([photo.maps[label] for photo in pair.baseline.photos], size, passes_beside(agreements))
    places = sorted(range(len(agreements)) if failed and p is not None else below, key=lambda at: (agreements[at].above, at))
    numbers = [agreements[at].found.shortfall(agreements[at].floor) for at in places]
    further = named(pair.now, places, numbers) if failed else {}
    return Verdict.of("fail" if failed else "ok", "map agreement", text, estimate, rule, label, p=p, **further)


def passes_beside(agreements: Sequence[Agreement]) -> Callable[[Sequence[Similarity]], bool]:
    """Whether maps of other similarities to the original's, by photo, would pass the rule that `agreements` are held against."""
    return lambda found: p_of([replace(one, found=each) for one, each in zip(agreements, found, strict=True)]) >= LEVEL


def p_of(agreements: Sequence[Agreement]) -> float:
    """The probability that a faithful network's maps agree no better than these, one for each photo."""
    shift = np.array([one.found.spearman - one.noise.spearman for one in agreements])
    return chance_of(sum(not one.holds for one in agreements), shift)


def chance_of(below: int, shift: np.ndarray) -> float:
    """The probability that a faithful network does as badly: the smaller of two, doubled.

    below: maps under their floors; shift: (photos,) by how much each correlation exceeds that of two maps of the original.
    """
    p = float(distributions.binom.sf(below - 1, len(shift), RARE))
    estimate = None if np.isnan(shift).any() else stats.change(shift)
    if estimate is not None and estimate.high is not None and estimate.high < -SHIFT:
        p = min(p, stats.change(shift + SHIFT).p or 0.0)
    return min(1.0, 2 * p)
