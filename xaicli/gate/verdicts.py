"""From two runs of a suite to verdicts: one for each rule, method and metric, and some that need no rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats as distributions

from xaicli.gate.baseline import Baseline, view_of
from xaicli.gate.map_similarity import FLOOR, RARE, Noise, Similarity, hardly_fails, similarity
from xaicli.gate.measure import ReadySuite
from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.rules import CONFIDENCE, CONTROLS, DECISIONS, MAP_SIMILARITY, MOST_CHANGED, SAME_MODEL, TOLERANCE, Level, Rule
from xaicli.gate.score_verdicts import by_bounds, by_tolerance, controls_verdicts, held_against, score_verdict
from xaicli.gate.verdict import Floats, Verdict, named, with_interval
from xaicli.metric import Quantity, ValueKind
from xaicli.outputs import Outputs
from xaicli.results import stats
from xaicli.targets import TargetRule
from xaicli.words import count

CHANCE = 2 * RARE
"""The share of an unchanged model's maps that may fall below a stochastic method's floor in one of the two numbers."""
SHIFT = 0.05
"""By how much the mean correlation may lie below that of other seeds, in addition to its interval."""
LEVEL = 0.05
SHARE = Quantity(ValueKind.BINARY, 0.0, 1.0)
CORRELATION = Quantity(ValueKind.CONTINUOUS, -1.0, 1.0)
PROBABILITY = Quantity(ValueKind.CONTINUOUS, 0.0, 1.0)
EXPLAINED = {
    Outputs.SOFTMAX: "the probability of the baseline's class",
    Outputs.SIGMOID: "the probability of the baseline's label",
    Outputs.VALUES: "the value of the baseline's output",
    Outputs.REGION: "the mean probability of the baseline's class over its region",
    Outputs.BOXES: "the similarity to the baseline's box",
}
"""What the number of a target is, by the kind of outputs."""
CALLED = {Outputs.VALUES: "value", Outputs.BOXES: "similarity"}
"""What a verdict on that number is called where it is no probability."""


def judge(ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult], *, same_seed: bool) -> list[Verdict]:
    """All verdicts, Holm-corrected over those that chance affects. same_seed: whether both runs drew the same random numbers."""
    verdicts = [*facts(ready, baseline, now)]
    for rule in ready.rules:
        methods = [method.label for method in ready.methods if rule.method in ("", method.label)]
        if rule.metric == MAP_SIMILARITY:
            verdicts += [map_verdict(rule, label, ready, baseline, now, same_seed=same_seed) for label in methods]
        elif rule.metric == CONTROLS:
            verdicts += controls_verdicts(rule, ready, methods, now)
        elif rule.metric == DECISIONS:
            verdicts.append(decisions_verdict(rule, ready, baseline, now))
        elif rule.metric == CONFIDENCE:
            verdicts.append(confidence_verdict(rule, ready, baseline, now))
        else:
            verdicts += [score_verdict(rule, label, ready, baseline, now) for label in methods]
    verdicts += unasked(ready, baseline, now)
    return corrected(verdicts)


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """A failure that chance may explain stands only if it survives Holm's correction over all such rules."""
    places = [at for at, verdict in enumerate(verdicts) if verdict.p is not None]
    adjusted = stats.holm([verdicts[at].p or 0.0 for at in places])
    result = list(verdicts)
    for at, p in zip(places, adjusted, strict=True):
        if result[at].state == "fail" and p >= LEVEL:
            raw = result[at].p or 0.0
            among = count(len(places), "rule")
            text = f"{result[at].text}; after correcting for {among} this can be chance (unadjusted p = {raw:.2g})"
            result[at] = replace(result[at], state="inconclusive", text=text)
    return result


# Known without a rule. These have verdicts of their own, since a fault can improve a score


THEN_AND_NOW = ("at the baseline", "now")


def facts(
    ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult], sides: tuple[str, str] = THEN_AND_NOW
) -> Iterator[Verdict]:
    """Verdicts on maps that are not finite, on the layer, and on the model. sides: words for where things are as in the baseline,
    and where they are as in the suite."""
    then, here = sides
    for label in (method.label for method in ready.methods):
        broken = [at for at, photo in enumerate(now) if not np.isfinite(photo.maps[label]).all()]
        if broken:
            text = f"not finite for {len(broken)} of {count(len(now), 'photo')}"
            yield Verdict("fail", "maps", text, method=label, metric="maps", **named(now, broken))
    places = ready.places()
    for label, layer in ready.layers().items():
        before = baseline.layers.get(label, layer)
        if before != layer and not (within(before, layer) and baseline.places.get(label) == places.get(label)):
            text = f"{before} {then}, {layer} {here}"
            yield Verdict("fail" if ready.suite.expect == SAME_MODEL else "note", "layer", text, method=label, metric="layer")
    view = view_of(ready)
    before_and_now = [(name, before, view.get(name, "none")) for name, before in baseline.view.items()]
    moved = [f"{name} {before} {then}, {after} {here}" for name, before, after in before_and_now if before != after]
    if moved:
        yield Verdict("note", "view", f"photos are prepared differently: {'; '.join(moved)}", metric="view")
    yield from renamed(ready, baseline, sides)
    if baseline.fingerprint != ready.classifier.fingerprint:
        text = f"{baseline.fingerprint} {then}, {ready.classifier.fingerprint} {here}"
        if compared := other_photo(baseline, now, sides):
            text = f"{text}; the photo that the target compares with is part of it, and changed: {compared}"
        yield Verdict("note", "model", text, metric="model")


def renamed(ready: ReadySuite, baseline: Baseline, sides: tuple[str, str]) -> Iterator[Verdict]:
    """A verdict on the names of the classes that were explained: a failure where they stand in another order, since a map is then
    of another class, or prompt, than at the baseline; a note where only names are new."""
    names = ready.classifier.classes
    pairs = [(index, before, names[int(index)]) for index, before in baseline.classes.items() if int(index) < len(names)]
    moved = [(index, before, after) for index, before, after in pairs if before != after]
    if not moved:
        return
    index, before, after = moved[0]
    others = f" ({len(moved)} classes in all)" if len(moved) > 1 else ""
    text = f"class {index} is {before} {sides[0]}, {after} {sides[1]}{others}"
    if before in names:
        place = names.index(before)
        text = (
            f"the classes, or prompts, stand in another order: {text}; {before} is class {place}, and its maps are not compared"
        )
        yield Verdict("fail", "classes", text, metric="classes")
    else:
        yield Verdict("note", "classes", f"{text}: maps of the same number are compared, whatever its name", metric="classes")


def other_photo(baseline: Baseline, now: Sequence[PhotoResult], sides: tuple[str, str]) -> str:
    """The photo that a target compares with, before and now, where it changed; else empty."""
    pairs = (
        (TargetRule.of_name(old.target).photo, TargetRule.of_name(new.target).photo)
        for old, new in zip(baseline.photos, now, strict=True)
    )
    return next((f"{before} {sides[0]}, {after} {sides[1]}" for before, after in pairs if before and before != after), "")


def within(before: str, now: str) -> bool:
    """Whether one name is the other's within a wrapper (`features.18`, `m.features.18`). Another layer may end in the same name:
    where it is in the network must be the same too."""
    longer, shorter = sorted((before, now), key=len, reverse=True)
    return longer.endswith(f".{shorter}")


def unasked(ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult]) -> Iterator[Verdict]:
    """Verdicts on decisions and confidence that no rule is about."""
    named_by_rules = {rule.metric for rule in ready.rules}
    # Values decide on nothing.
    if DECISIONS not in named_by_rules and ready.classifier.outputs is not Outputs.VALUES:
        yield decisions_verdict(None, ready, baseline, now)
    if CONFIDENCE not in named_by_rules:
        yield confidence_verdict(None, ready, baseline, now)


def decisions_verdict(rule: Rule | None, ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    """Judge how many decisions changed, by a rule's bound. Without a rule it is a note, until so many changed that the default
    bound is certainly exceeded."""
    changes = np.array([old.decision != new.decision for old, new in zip(baseline.photos, now, strict=True)], dtype=np.float64)
    changed = np.flatnonzero(changes).tolist()
    estimate = stats.mean(changes, SHARE)
    ends = "" if estimate.value is None or not changed else f", {with_interval(estimate, changes)}"
    text = f"changed on {len(changed)} of {count(len(now), 'photo')}{ends} (not counted against the maps)"
    further = {"value": len(changed) / len(now), **named(now, changed)}
    about = {"low": estimate.low, "high": estimate.high, "test": estimate.test, "metric": DECISIONS, **further}
    same = ready.suite.expect == SAME_MODEL
    if not changed and (same or rule is None):
        return Verdict("ok", DECISIONS, text, rule.level if rule else "error", **about)
    if rule is not None and rule.at_most is not None:
        text = f"{text}, at most {100 * rule.at_most:g} % wanted"
        state, p, text = held_against(estimate, changes, -np.inf, rule.at_most, text, SHARE, paired=False)
        return Verdict(state, DECISIONS, text, rule.level, p=p, **about)
    bound = MOST_CHANGED[ready.suite.expect]
    if estimate.low is None or estimate.low <= bound:
        return Verdict("note", DECISIONS, text, **about)
    text = f"{text}, more than {100 * bound:g} %, the most a suite without a rule for decisions allows"
    # Rules replace the defaults, so a suite that states rules is only warned.
    level: Level = "warn" if ready.suite.rules else "error"
    return Verdict("fail", DECISIONS, text, level, p=stats.p_against(changes, bound, SHARE), **about)


def confidence_verdict(rule: Rule | None, ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult]) -> Verdict:
    """Judge the probability of the baseline's class, or its change, by a rule; of other outputs the number in its place. Without
    a rule a change is a note, and inconclusive if it may exceed a fiftieth; of values, which have no range, always a note."""
    outputs = ready.classifier.outputs
    found = of_confidence(
        rule, outputs, np.array([[photo.probability for photo in each] for each in (baseline.photos, now)]), now
    )
    return replace(found, what=CALLED.get(outputs, CONFIDENCE))


def of_confidence(rule: Rule | None, outputs: Outputs, before_and_now: Floats, now: Sequence[PhotoResult]) -> Verdict:
    """The same; before_and_now: (2, photos) the numbers of the targets."""
    quantity = Quantity() if outputs is Outputs.VALUES else PROBABILITY
    change = before_and_now[1] - before_and_now[0]
    if rule is not None and rule.tolerance is None:
        return by_bounds(rule, "", before_and_now[1], now, quantity)
    if rule is not None:
        return by_tolerance(rule, "", change, now, quantity, worse=0.0)
    estimate = stats.change(change, quantity)
    text = f"{with_interval(estimate, change, signed=True)} in {EXPLAINED[outputs]}"
    if not change.any():
        return Verdict.of("ok", CONFIDENCE, text, estimate, None)
    state, _, judged = held_against(estimate, change, -TOLERANCE, TOLERANCE, text, quantity, paired=True)
    moved = estimate.low is None or estimate.high is None or estimate.low > 0 or estimate.high < 0
    if moved or state == "ok" or outputs is Outputs.VALUES:
        return Verdict.of("note" if moved or state != "ok" else "ok", CONFIDENCE, text, estimate, None)
    # No rule asks for it, so it never makes a check fail, not even under --strict.
    return replace(Verdict.of("inconclusive", CONFIDENCE, judged, estimate, None), level="warn")


# Maps


def map_verdict(
    rule: Rule, label: str, ready: ReadySuite, baseline: Baseline, now: Sequence[PhotoResult], *, same_seed: bool
) -> Verdict:
    """Judge whether the maps are those of the baseline: every one if the random numbers are the same, or else all but those that
    chance explains."""
    size = ready.classifier.view.size
    found = [similarity(old.maps[label], new.maps[label], size) for old, new in zip(baseline.photos, now, strict=True)]
    noise = None if same_seed else baseline.noise.get(label)
    floor = floor_of(rule, FLOOR if noise is None else noise.floor)
    values = np.array([one.spearman for one in found])
    estimate = stats.mean(values, CORRELATION)
    overlap = float(np.mean([one.overlap for one in found]))
    below = [at for at, one in enumerate(found) if not one.reaches(floor)]
    wanted = f"at least {floor.spearman:.2f}" + (f" and {floor.overlap:.2f}" if floor.overlap > 0 else "")
    text = f"{with_interval(estimate, values)}, top-tenth overlap {overlap:.2f}; {wanted} wanted"
    text = f"{text}, {len(below)} of {count(len(found), 'photo')} below"
    failed, p, order = bool(below), None, [one.above(floor) for one in found]
    if noise is not None and not np.isnan(values).any():
        shift = values - np.array(noise.expected)
        text = f"{text}; {np.mean(noise.expected):.2f} on average with other seeds"
        p = of_chance(rule, found, floor, noise)
        failed, order = p < LEVEL, shift.tolist()
        if not failed:
            then = [photo.maps[label] for photo in baseline.photos]
            text += hardly_fails(then, size, lambda drawn: of_chance(rule, drawn, floor, noise) >= LEVEL)
    places = sorted(range(len(found)) if noise is not None else below, key=lambda at: (order[at], at)) if failed else []
    further = named(now, places, [found[at].shortfall(floor) for at in places])
    return Verdict.of("fail" if failed else "ok", "map similarity", text, estimate, rule, label, p=p, **further)


def of_chance(rule: Rule, found: Sequence[Similarity], floor: Similarity, noise: Noise) -> float:
    """The probability that an unchanged model with another seed differs as much: the smaller one of two, doubled.

    Of the similarities found, by photo, one counts those under the floor of chance. The other, unless a rule states the floor,
    looks at by how much each correlation exceeds its mean with other seeds.
    """
    p = float(distributions.binom.sf(sum(not one.reaches(floor) for one in found) - 1, len(found), CHANCE))
    if rule.at_least is None:
        shift = np.array([one.spearman for one in found]) - np.array(noise.expected)
        estimate = stats.change(shift)
        if estimate.high is not None and estimate.high < -SHIFT:
            p = min(p, stats.change(shift + SHIFT).p or 0.0)
    return min(1.0, 2 * p)


def floor_of(rule: Rule, floor: Similarity) -> Similarity:
    """The rule's floor instead of the default for the correlation; a lower floor asks nothing of the overlap."""
    if rule.at_least is None:
        return floor
    return Similarity(rule.at_least, floor.overlap if rule.at_least >= floor.spearman else 0.0)
