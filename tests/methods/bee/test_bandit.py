"""BEE's bandit against the numbers of its specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaicli.methods.bee.bandit import Beliefs, chance_of_winning, is_better
from xaicli.passes.seeds import stream

CONTEXT = np.array([1.0, 2.0])


def test_a_win_moves_the_belief_to_the_posteriors_mode():
    once = Beliefs.prior(1, 2, 1.0).updated(0, CONTEXT, True)
    assert once.means[0] == pytest.approx([0.2355011, 0.4710021], abs=1e-7)
    assert once.precisions[0] == pytest.approx([1.1800403, 1.7201612], abs=1e-7)
    twice = once.updated(0, CONTEXT, True)
    assert twice.means[0] == pytest.approx([0.3689496, 0.6540950], abs=1e-7)
    assert twice.precisions[0] == pytest.approx([1.3127167, 2.2508667], abs=1e-7)


def test_a_loss_is_the_mirror_of_a_win_and_the_beliefs_before_stay():
    before = Beliefs.prior(2, 2, 1.0)
    won, lost = before.updated(1, CONTEXT, True), before.updated(1, CONTEXT, False)
    assert lost.means[1] == pytest.approx(-won.means[1])
    assert lost.precisions[1] == pytest.approx(won.precisions[1])
    assert not before.means.any()
    assert not won.means[0].any()


def test_after_one_win_an_arm_is_preferred_as_often_as_its_belief_says():
    beliefs = Beliefs.prior(2, 2, 1.0).updated(0, CONTEXT, True)
    mean, spread = beliefs.scores(CONTEXT)
    assert mean == pytest.approx([1.1775, 0], abs=1e-4)
    assert spread == pytest.approx([1.7812, 2.2361], abs=1e-4)
    draws = [beliefs.sample(CONTEXT, stream(0, "arm", pull)) for pull in range(4000)]
    # Three standard errors of a share of 4,000.
    assert draws.count(0) / 4000 == pytest.approx(0.6598, abs=0.023)


@pytest.mark.parametrize(("higher", "expected"), [(True, 0.75), (False, 0.25)])
def test_a_score_wins_by_its_rank_among_all_seen(higher, expected):
    seen = [0.2, 0.5, 0.4, 0.9, 0.7]
    assert chance_of_winning(0.7, seen, higher=higher, binary=False) == expected


def test_the_first_score_wins_a_missing_one_loses_and_a_binary_one_counts_itself():
    assert chance_of_winning(0.1, [0.1], higher=False, binary=False) == 1
    assert chance_of_winning(math.nan, [0.1], higher=True, binary=False) == 0
    assert chance_of_winning(100.0, [100.0, 0.0], higher=True, binary=True) == 1
    assert chance_of_winning(0.0, [0.0], higher=True, binary=True) == 0


def test_a_score_beats_none_and_rounding_beats_nothing():
    assert is_better(0.1, math.nan, higher=True)
    assert not is_better(math.nan, 0.1, higher=True)
    assert is_better(0.2, 0.1, higher=True)
    assert is_better(0.1, 0.2, higher=False)
    assert not is_better(0.1 + 1e-8, 0.1, higher=True)


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_which_arm_suits_which_context(seed):
    contexts, right = np.eye(2), (0, 3)
    beliefs, hits = Beliefs.prior(5, 2, 1.0), 0
    for pull in range(1000):
        kind = pull % 2
        arm = beliefs.sample(contexts[kind], stream(seed, "arm", pull))
        won = stream(seed, "win", pull).random() < (0.8 if arm == right[kind] else 0.2)
        beliefs = beliefs.updated(arm, contexts[kind], bool(won))
        hits += arm == right[kind] and pull >= 500
    assert hits / 500 >= 0.95
