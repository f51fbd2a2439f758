"""Targets: rules read from text, and rules resolved against logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xaicli.errors import UsageError
from xaicli.target_text import parse_target
from xaicli.targets import DECISION, Resolved, TargetRule, Targets

CLASSES = ("tench, Tinca tinca", "crane", "T-shirt", "crane, digger", "jack-o-lantern", "lantern", "jack-o", "shirt")
LOGITS = torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 4.0, 5.0, -1.0]])


def target(text: str, classes: tuple[str, ...] = CLASSES, count: int | None = None) -> TargetRule:
    return parse_target(text, classes, len(classes) if count is None else count)


# From text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("top1", TargetRule(top=1)),
        (" TOP5 ", TargetRule(top=5)),
        ("top-3", TargetRule(top=3)),
        ("0", TargetRule(index=0)),
        ("7", TargetRule(index=7)),
        ("tench", TargetRule(index=0)),
        ("Tinca_Tinca", TargetRule(index=0)),
        ("tench, Tinca tinca", TargetRule(index=0)),
        ("digger", TargetRule(index=3)),
        ("t-shirt", TargetRule(index=2)),
        ("tshirt", TargetRule(index=2)),
        ("2-0", TargetRule(index=2, against=0)),
        ("tench-digger", TargetRule(index=0, against=3)),
        ("tench - 5", TargetRule(index=0, against=5)),
        ("T-shirt-tench", TargetRule(index=2, against=0)),
        ("tench-T-shirt", TargetRule(index=0, against=2)),
    ],
)
def test_a_target_is_read_from_text(text, rule):
    assert target(text) == rule


def test_a_name_with_dashes_is_tried_whole_first():
    assert target("jack-o-lantern") == TargetRule(index=4)
    assert target("jack-o-lantern", CLASSES[:4] + CLASSES[5:]) == TargetRule(index=5, against=4)


def test_a_name_that_two_classes_bear_lists_their_indices():
    with pytest.raises(UsageError) as caught:
        target("crane")
    assert str(caught.value) == '"crane" is the name of 2 classes: 1, 3. Give the index: --target INDEX.'
    for text in ("crane-tench", "tench-crane"):
        with pytest.raises(UsageError, match=r'"crane" is the name of 2 classes: 1, 3'):
            target(text)


def test_a_contrast_that_can_be_split_in_two_ways_is_refused():
    with pytest.raises(UsageError, match="2 ways"):
        target("a-b-c", ("a", "b-c", "a-b", "c"))


def test_a_class_against_itself_is_refused():
    for text in ("tench-tench", "0-tench", "3-3"):
        with pytest.raises(UsageError, match="against itself"):
            target(text)


@pytest.mark.parametrize("text", ["8", "1000", "9" * 5000, "0-8", "8-0"])
def test_an_index_out_of_range_says_the_range(text):
    with pytest.raises(UsageError, match=r"out of range; expected a class index from 0 to 7") as caught:
        target(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["top0", "top9", "top-0", "top" + "9" * 5000])
def test_a_top_k_that_the_model_cannot_meet_says_what_it_can(text):
    with pytest.raises(UsageError, match="top1 to top8") as caught:
        target(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", " ", "-", "-1", "1.5", "tensh", "tench-top1", "tensh-crane", "top", "top five", "0-1-2"])
def test_what_is_no_target_is_refused_with_what_would_be(text):
    with pytest.raises(UsageError, match="expected top1, top5, an index from 0 to 7, a class name, or A-B"):
        target(text)


def test_a_misspelled_class_gets_the_nearest_name():
    with pytest.raises(UsageError, match=r"Did you mean tench\?"):
        target("tensh")


def test_a_model_without_class_names_takes_indices_and_says_how_to_give_names():
    assert target("3-1", (), 4) == TargetRule(index=3, against=1)
    with pytest.raises(UsageError, match="--classes FILE"):
        target("tench", (), 4)


def test_numbers_with_a_dash_between_them_are_a_contrast_even_where_classes_are_called_by_numbers():
    digits = tuple(str(number) for number in range(20))
    assert target("1-2", digits) == TargetRule(index=1, against=2)
    assert target("12", digits) == TargetRule(index=12)
    with pytest.raises(UsageError):
        target("-1", digits)


def test_a_class_called_by_a_number_is_found_by_its_name():
    assert target("7", ("9", "8", "7")) == TargetRule(index=2)


def test_a_part_that_looks_like_an_index_out_of_range_does_not_hide_a_split_that_fits():
    assert target("x-99-y", ("x", "99-y")) == TargetRule(index=0, against=1)


@given(st.text(alphabet="ab-01 ,_", max_size=12), st.lists(st.text(alphabet="ab-01 ,_", max_size=6), max_size=5))
def test_any_text_is_a_target_or_refused(text, classes):
    try:
        rule = parse_target(text, classes, 6)
    except UsageError:
        return
    assert rule.top or 0 <= rule.index < 6
    assert rule.against < 6


@given(st.integers(0, 30), st.integers(-1, 30))
def test_the_canonical_text_of_a_rule_reads_as_the_rule(index, against):
    if index == against:
        return
    rule = TargetRule(index=index, against=against)
    assert parse_target(str(rule), (), 31) == rule
    assert parse_target(str(TargetRule(top=index + 1)), (), 31) == TargetRule(top=index + 1)


@pytest.mark.parametrize(
    "wrong", [{}, {"top": -1}, {"index": -2}, {"index": 1, "against": 1}, {"top": 2, "index": 1}, {"against": 3}]
)
def test_a_rule_that_names_nothing_or_contradicts_itself_is_refused(wrong):
    with pytest.raises(UsageError):
        TargetRule(**wrong)


# Against logits


def test_the_decision_is_the_largest_logit_and_the_lowest_index_of_equals():
    resolved = Targets.same(DECISION, 2).resolve(LOGITS)
    assert resolved.classes.tolist() == [[1], [0]]
    assert resolved.against.tolist() == [[-1], [-1]]
    assert resolved.scores.tolist() == [[3.0], [5.0]]
    assert resolved.classes.dtype == torch.int64


def test_top_k_is_in_descending_order_and_ties_go_by_index():
    resolved = Targets.same(TargetRule(top=4), 2).resolve(LOGITS)
    assert resolved.classes.tolist() == [[1, 3, 2, 0], [0, 2, 1, 3]]
    assert Targets.same(TargetRule(top=3), 1).resolve(torch.zeros(1, 500)).classes.tolist() == [[0, 1, 2]]


def test_one_batch_may_mix_a_decision_a_class_and_a_contrast():
    rules = (DECISION, TargetRule(index=2), TargetRule(index=3, against=0))
    logits = torch.cat([LOGITS, LOGITS[:1] + 1])
    resolved = Targets(rules).resolve(logits)
    assert resolved.classes.tolist() == [[1], [2], [3]]
    assert resolved.against.tolist() == [[-1], [-1], [0]]
    assert resolved.scores.tolist() == [[3.0], [5.0], [2.0]]
    assert [resolved.names(row) for row in range(3)] == [["1"], ["2"], ["3-0"]]


def test_photos_of_one_batch_cannot_have_different_numbers_of_targets():
    with pytest.raises(UsageError, match="different numbers of targets"):
        Targets((TargetRule(top=2), DECISION))


@pytest.mark.parametrize("rule", [TargetRule(index=4), TargetRule(index=0, against=4), TargetRule(top=5)])
def test_a_rule_beyond_the_models_classes_is_refused_when_it_is_resolved(rule):
    with pytest.raises(UsageError, match="0 to 3"):
        Targets.same(rule, 2).resolve(LOGITS)


def test_a_length_mismatch_is_refused():
    with pytest.raises(UsageError, match="3 targets for a batch of 2 photos"):
        Targets.same(DECISION, 3).resolve(LOGITS)


def test_an_empty_batch_resolves_to_nothing():
    assert Targets(()).resolve(torch.zeros(0, 4)).classes.shape == (0, 1)


def test_scores_carry_the_gradient_of_the_logits_they_were_read_from():
    logits = LOGITS.clone().requires_grad_()
    Targets((DECISION, TargetRule(index=3, against=1))).resolve(logits).scores.sum().backward()
    assert logits.grad.tolist() == [[0, 1, 0, 0], [0, -1, 0, 1]]


def test_other_logits_are_read_at_the_same_targets():
    resolved = Targets((DECISION, TargetRule(index=2, against=1))).resolve(LOGITS)
    other = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]))
    torch.testing.assert_close(resolved.probability(other), torch.tensor([[0.2], [0.1]]))
    torch.testing.assert_close(resolved.logit(other), torch.tensor([[0.2], [0.3 / 0.2]]).log())


def test_infinite_logits_elsewhere_do_not_spoil_a_score():
    resolved = Targets((DECISION, TargetRule(index=1, against=2))).resolve(torch.tensor([[-torch.inf, 2.0, 1.0]] * 2))
    assert resolved.scores.tolist() == [[2.0], [1.0]]


def test_nan_logits_resolve_without_a_crash():
    resolved = Targets.same(DECISION, 1).resolve(torch.full((1, 3), torch.nan))
    assert 0 <= int(resolved.classes) < 3
    assert resolved.scores.isnan().all()


def test_rows_of_resolved_targets_can_be_taken():
    resolved = Targets((TargetRule(index=3, against=0), DECISION)).resolve(LOGITS)
    assert isinstance(resolved[1:], Resolved)
    assert resolved[1:].names(0) == ["0"]
    assert resolved[torch.tensor([1, 0])].classes.tolist() == [[0], [3]]


@pytest.mark.parametrize("bound", ["nan", "inf", "1", "-0.1", "half", "", "0x1p-1"])
@pytest.mark.parametrize("kind", ["positive", "boxes"])
def test_a_bound_that_is_no_probability_is_said_to_be_none(kind, bound):
    with pytest.raises(UsageError, match=f"above={bound} is not a probability; expected a number from 0 to below 1"):
        parse_target(f"{kind}@above={bound}", ("cat", "dog"), 2)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("cat", "Did you mean tiger cat or Egyptian cat?"),
        ("dog", "Did you mean dog sled, dogs of war or sea dog? (and 1 more)"),
        ("coats", "Did you mean coast?"),
    ],
)
def test_names_that_have_the_word_are_suggested_before_names_that_are_spelled_alike(typed: str, asked: str) -> None:
    names = ("coast", "tiger cat", "Egyptian cat", "catamaran", "dog sled", "dogs of war", "sea dog", "prairie dog")
    with pytest.raises(UsageError) as caught:
        parse_target(typed, names, len(names))
    assert caught.value.line().endswith(asked)
