"""Softmax, sigmoid and values: probabilities, log-odds, decisions."""

from __future__ import annotations

import pytest
import torch

from xaicli.outputs import Outputs
from xaicli.targets import DECISION, TargetRule, Targets

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [-1.0, -3.0, -0.5]])


def test_labels_have_probabilities_of_their_own():
    torch.testing.assert_close(Outputs.SIGMOID.probabilities(LOGITS), 1 / (1 + (-LOGITS).exp()))
    torch.testing.assert_close(Outputs.SOFTMAX.probabilities(LOGITS).sum(dim=1), torch.ones(2))
    assert Outputs.VALUES.probabilities(LOGITS) is LOGITS


@pytest.mark.parametrize("kind", [Outputs.SOFTMAX, Outputs.SIGMOID])
def test_log_odds_are_those_of_the_probability(kind):
    p = kind.probabilities(LOGITS)[:, 0]
    torch.testing.assert_close(kind.log_odds(LOGITS, 0), (p / (1 - p)).log())


def test_a_label_is_decided_for_by_itself_and_a_class_against_all_others():
    assert Outputs.SOFTMAX.decided(LOGITS, 0).tolist() == [1, 0]
    assert Outputs.SIGMOID.decided(LOGITS, 2).tolist() == [1, 0]
    assert Outputs.VALUES.decided(LOGITS, 0).isnan().all()
    assert Outputs.VALUES.log_odds(LOGITS, 0).isnan().all()


def test_targets_know_what_the_outputs_are():
    chosen = Targets.same(DECISION, 2, Outputs.SIGMOID).resolve(LOGITS)
    assert chosen.classes.tolist() == [[0], [2]]
    torch.testing.assert_close(chosen.probability(LOGITS), chosen.scores.sigmoid())
    torch.testing.assert_close(chosen[:1].detached().probability(LOGITS[:1]), chosen.scores[:1].sigmoid())
    values = Targets.same(TargetRule(index=1), 2, Outputs.VALUES).resolve(LOGITS)
    torch.testing.assert_close(values.probability(LOGITS), LOGITS[:, 1:2])
    assert Targets.decided(values).resolve(LOGITS).outputs is Outputs.VALUES


@pytest.mark.parametrize("kind", [Outputs.SOFTMAX, Outputs.SIGMOID])
def test_applied_probabilities_are_undone(kind):
    again = kind.undo(kind.probabilities(LOGITS))
    torch.testing.assert_close(kind.probabilities(again), kind.probabilities(LOGITS))
