"""The rules of a suite: reading them, checking them against what the suite runs, and the defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xaicli.errors import UsageError
from xaicli.gate.toml_file import check_keys, naming
from xaicli.kinds import show
from xaicli.metric import Direction, Metric
from xaicli.outputs import Outputs
from xaicli.registry import make_method, make_metric

SAME_MODEL, RETRAINED = "same-model", "retrained"
MAP_SIMILARITY, CONFIDENCE, DECISIONS, CONTROLS = "map-similarity", "p0", "decisions", "controls"

BOUNDS = ("at-least", "at-most", "tolerance")
KINDS = {"metric": "text", "method": "text", "level": "text", **dict.fromkeys(BOUNDS, "a number")}
OF_SPECIAL = {
    MAP_SIMILARITY: ("at-least",),
    CONFIDENCE: ("at-least", "at-most", "tolerance"),
    DECISIONS: ("at-most",),
    CONTROLS: (),
}
"""What a rule may name beside metrics, and the bounds that it then accepts."""
RANGES = {MAP_SIMILARITY: (-1.0, 1.0), CONFIDENCE: (0.0, 1.0), DECISIONS: (0.0, 1.0)}
WITHOUT_BOUND = (MAP_SIMILARITY, CONTROLS)

TOLERANCE = 0.02
"""The change of a score that is allowed without a rule, as a share of the metric's range."""

MOST_CHANGED = {SAME_MODEL: 0.1, RETRAINED: 0.5}
"""The share of photos whose decision may change without a rule, by what the suite expects. The check fails if more change, and
not by chance."""

Level = Literal["error", "warn"]
Expect = Literal["same-model", "retrained"]


@dataclass(frozen=True)
class Rule:
    """One rule. metric: a metric's label or one of OF_SPECIAL; method: a label, or empty for all; at_least, at_most: on what is
    measured now; tolerance: on the change since the baseline; where: the file, and the rule's number in it."""

    metric: str
    method: str = ""
    at_least: float | None = None
    at_most: float | None = None
    tolerance: float | None = None
    level: Level = "error"
    where: str = field(default="", compare=False)


def read_rule(where: str, entry: Any) -> Rule:
    """Read a rule of a suite's file; raises UsageError that names `where`."""
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is not a table", expected="[[rule]]")
    check_keys(where, entry, KINDS)
    if "metric" not in entry:
        raise UsageError(f"{where} names no metric", expected=f"a metric, or {', '.join(OF_SPECIAL)}")
    if entry.get("level", "error") not in ("error", "warn"):
        raise UsageError(f'{where}: level = "{show(entry["level"])}"', expected="error or warn")
    bounds = {key.replace("-", "_"): finite(where, key, entry[key]) for key in BOUNDS if key in entry}
    if bounds.get("tolerance", 0.0) < 0:
        raise UsageError(f"{where}: tolerance = {bounds['tolerance']:g}", expected="0 or more")
    if bounds.get("at_least", -math.inf) > bounds.get("at_most", math.inf):
        raise UsageError(f"{where}: no number is at least {bounds['at_least']:g} and at most {bounds['at_most']:g}")
    if not bounds and entry["metric"] not in WITHOUT_BOUND:
        raise UsageError(f"{where} demands nothing", expected="at-least, at-most or tolerance")
    return Rule(entry["metric"], entry.get("method", ""), level=entry.get("level", "error"), where=where, **bounds)


def finite(where: str, key: str, value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f"{where}: {key} = {show(value)}", expected="a finite number")
    return number


def settle(rules: Sequence[Rule], expect: Expect, methods: Sequence[str], metrics: Sequence[Metric]) -> tuple[Rule, ...]:
    """The rules by which a suite's run is judged, with canonical labels and one kind of bound each.

    methods: labels of what the suite runs. Without rules, the defaults of `expect` hold. Raises UsageError if a rule would judge
    nothing: a method or metric that the suite does not run, or a bound without meaning there.
    """
    if rules:
        return tuple(part for rule in rules for part in settled(rule, methods, metrics))
    found = default_rules(expect, metrics)
    if not found:
        hint = 'Add metrics = ["insertion"], or a [[rule]].'
        raise UsageError("the suite demands nothing", expected="metrics or rules", hint=hint)
    return found


def settled(rule: Rule, methods: Sequence[str], metrics: Sequence[Metric]) -> list[Rule]:
    """A rule with its labels in canonical form; one that bounds both a value and its change becomes two."""
    labels = [metric.label for metric in metrics]
    with naming(rule.where):
        if rule.metric in OF_SPECIAL:
            check_special(rule, labels)
        else:
            rule = replace(rule, metric=known(rule, "metric", make_metric(rule.metric).label, labels))
        if rule.method:
            rule = replace(rule, method=known(rule, "method", make_method(rule.method).label, methods))
    absolute, change = replace(rule, tolerance=None), replace(rule, at_least=None, at_most=None)
    if rule.tolerance is None:
        return [absolute]
    return [change] if rule.at_least is None and rule.at_most is None else [absolute, change]


def known(rule: Rule, word: str, label: str, labels: Sequence[str]) -> str:
    if label not in labels:
        raise UsageError(
            f"{rule.where} is about the {word} {label}, which the suite does not run",
            expected=" or ".join(labels) or f"a suite with {word}s",
            hint=f'Add it to {word}s = ["…"], or change the rule.',
        )
    return label


def check_special(rule: Rule, metrics: Sequence[str]) -> None:
    taken = OF_SPECIAL[rule.metric]
    for key in BOUNDS:
        value = getattr(rule, key.replace("-", "_"))
        if value is None:
            continue
        if key not in taken:
            raise UsageError(f"{rule.where}: {key} means nothing to {rule.metric}", expected=" or ".join(taken) or "no bound")
        if rule.metric != CONFIDENCE:
            check_range(rule, key, value)
    if rule.method and rule.metric in (CONFIDENCE, DECISIONS):
        raise UsageError(f"{rule.where}: {rule.metric} is the model's, whatever the method", hint="Leave method out.")
    if rule.metric == CONTROLS and not any(is_insertion(label) for label in metrics):
        raise UsageError(f"{rule.where}: the controls rule needs insertion", hint='Add metrics = ["insertion"].')


def check_range(rule: Rule, key: str, value: float) -> None:
    low, high = RANGES[rule.metric]
    if not low <= value <= high:
        raise UsageError(f"{rule.where}: {key} = {value:g}", expected=f"{low:g} to {high:g}")


def check_outputs(rules: Sequence[Rule], outputs: Outputs) -> None:
    """Raise UsageError where a rule has no meaning for outputs of a kind: values decide on nothing, and have no range."""
    for rule in rules:
        if outputs is Outputs.VALUES and rule.metric == DECISIONS:
            raise UsageError(f"{rule.where}: the model gives values, which decide on nothing", hint=f"Write {CONFIDENCE}.")
        bounds = [(key, getattr(rule, key.replace("-", "_"))) for key in BOUNDS]
        if outputs is not Outputs.VALUES and rule.metric == CONFIDENCE:
            for key, value in bounds:
                if value is not None:
                    check_range(rule, key, value)


def is_insertion(label: str) -> bool:
    return label.partition("@")[0] == "insertion"


def default_rules(expect: Expect, metrics: Sequence[Metric]) -> tuple[Rule, ...]:
    """The rules of a suite that states none.

    For the same model: maps and scores do not change. For a retrained model: insertion beats the controls, and no score gets
    worse (a score without a better direction is not judged).
    """
    if expect == SAME_MODEL:
        return (Rule(MAP_SIMILARITY), *(default_rule(metric) for metric in metrics))
    controls = [Rule(CONTROLS)] if any(metric.name == "insertion" for metric in metrics) else []
    return (*controls, *(default_rule(metric) for metric in metrics if metric.direction is not Direction.NEITHER))


def default_rule(metric: Metric) -> Rule:
    low, high = metric.range
    if not math.isfinite(high - low):
        raise UsageError(
            f"{metric.label} has no smallest or no largest value, so there is no default tolerance",
            hint=f'State rules, this one among them: [[rule]] metric = "{metric.label}", tolerance = …',
        )
    return Rule(metric.label, tolerance=TOLERANCE * (high - low))
