"""Rules held against what a suite runs: none is without effect."""

from __future__ import annotations

import pytest

from xaicli.errors import UsageError
from xaicli.gate.rules import CONTROLS, MAP_SIMILARITY, Rule, settle
from xaicli.registry import make_metrics

METHODS = ["grad-cam", "rise@n_masks=200"]


def settled(*rules: Rule, metrics: str = "deletion,insertion", expect: str = "same-model"):
    return settle(rules, expect, METHODS, make_metrics([metrics] if metrics else []))


def test_without_rules_the_same_model_keeps_its_maps_and_its_scores():
    assert settled() == (Rule(MAP_SIMILARITY), Rule("deletion", tolerance=0.02), Rule("insertion", tolerance=0.02))
    assert settled(metrics="") == (Rule(MAP_SIMILARITY),)


def test_without_rules_a_retrained_one_beats_the_controls_and_scores_no_worse():
    assert settled(expect="retrained") == (Rule(CONTROLS), Rule("deletion", tolerance=0.02), Rule("insertion", tolerance=0.02))
    assert settled(expect="retrained", metrics="deletion") == (Rule("deletion", tolerance=0.02),)


def test_a_suite_that_demands_nothing_is_refused():
    with pytest.raises(UsageError, match="demands nothing"):
        settled(expect="retrained", metrics="")


def test_the_tolerance_that_goes_without_saying_is_a_fiftieth_of_the_range():
    found = settled(metrics="average-drop,class-sensitivity")
    assert found[1:] == (Rule("average-drop", tolerance=2.0), Rule("class-sensitivity", tolerance=0.04))
    with pytest.raises(UsageError, match="infidelity has no smallest or no largest value"):
        settled(metrics="infidelity")
    assert settled(Rule("infidelity", tolerance=3.0), metrics="infidelity") == (Rule("infidelity", tolerance=3.0),)


def test_labels_are_read_as_on_the_command_line():
    found = settled(Rule("Insertion", "GradCAM", at_least=0.5), Rule("deletion", "RISE@n-masks=200", at_most=1.0))
    assert found == (Rule("insertion", "grad-cam", at_least=0.5), Rule("deletion", "rise@n_masks=200", at_most=1.0))


def test_a_rule_that_bounds_a_value_and_its_change_is_two():
    rule = Rule("insertion", at_least=0.5, tolerance=0.1, level="warn")
    assert settled(rule) == (Rule("insertion", at_least=0.5, level="warn"), Rule("insertion", tolerance=0.1, level="warn"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("insertion", "rise", tolerance=1.0), "about the method rise, which the suite does not run"),
        (Rule("insertion", "no-such", tolerance=1.0), 'no method "no-such"'),
        (Rule("no-such", tolerance=1.0), 'no metric "no-such"'),
        (Rule("insertion@steps=7", tolerance=1.0), "about the metric insertion@steps=7, which the suite does not run"),
        (Rule("average-drop", tolerance=1.0), "about the metric average-drop"),
        (Rule(MAP_SIMILARITY, tolerance=0.1), "tolerance means nothing to map-similarity"),
        (Rule(MAP_SIMILARITY, at_most=0.1), "at-most means nothing"),
        (Rule(MAP_SIMILARITY, at_least=98.0), "expected -1 to 1"),
        (Rule(MAP_SIMILARITY, "rise", at_least=0.9), "which the suite does not run"),
        (Rule("decisions", tolerance=0.1), "tolerance means nothing to decisions"),
        (Rule("decisions", at_least=0.1), "at-least means nothing"),
        (Rule("decisions", at_most=5.0), "expected 0 to 1"),
        (Rule("decisions", "grad-cam", at_most=0.5), "whatever the method"),
        (Rule("p0", "grad-cam", tolerance=0.5), "whatever the method"),
        (Rule(CONTROLS, at_least=0.5), "at-least means nothing to controls"),
    ],
)
def test_a_rule_that_would_judge_nothing_is_refused(rule, words):
    with pytest.raises(UsageError) as caught:
        settled(rule)
    assert words in caught.value.line()


def test_controls_need_insertion():
    with pytest.raises(UsageError, match="the controls rule needs insertion"):
        settled(Rule(CONTROLS), metrics="deletion")
    assert settled(Rule(CONTROLS), metrics="insertion@steps=7") == (Rule(CONTROLS),)
