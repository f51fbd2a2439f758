"""The vote of neighbours, by hand."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from xaicli.methods.daam.neighbour_vote import over_its_sum, unit_columns, vote
from xaicli.models.feature_bank import Bank


def bank_of(rows: list[list[float]], labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> Bank:
    return Bank(torch.tensor(rows), torch.tensor(labels), classes, "net", "f" * 16)


def test_check_8_weights_of_two_agreeing_neighbours() -> None:
    bank = bank_of([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]], [1, 1, 0])
    by_sum = vote(torch.tensor([[3.0, 4.0]]), bank, k=2, temperature=0.07, unit=False)
    assert_close(by_sum.weights, torch.tensor([[0.6, 0.4]]))
    assert (by_sum.winner.tolist(), by_sum.kept.tolist()) == ([1], [2])
    in_range = vote(torch.tensor([[3.0, 4.0]]), bank, k=2, temperature=0.07, unit=True)
    assert_close(in_range.weights, torch.tensor([[1.0, 0.0]]))


def test_a_near_neighbour_outvotes_two_far_ones_and_they_are_left_out() -> None:
    bank = bank_of([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6]], [0, 1, 1])
    # exp(1 / .07) against 2 exp(.8 / .07): the first wins by a factor of 8.7.
    found = vote(torch.tensor([[2.0, 0.0]]), bank, k=3, temperature=0.07, unit=False)
    assert (found.winner.tolist(), found.kept.tolist()) == ([0], [1])
    assert_close(found.weights, torch.tensor([[1.0, 0.0]]))
    # When all neighbours count alike, the two win.
    warm = vote(torch.tensor([[2.0, 0.0]]), bank, k=3, temperature=100.0, unit=False)
    assert (warm.winner.tolist(), warm.kept.tolist()) == ([1], [2])


def test_more_neighbours_than_there_are_is_all_of_them() -> None:
    found = vote(torch.tensor([[1.0, 1.0]]), bank_of([[1.0, 0.0], [0.0, 1.0]], [0, 0]), k=20, temperature=0.07, unit=True)
    assert found.kept.tolist() == [2]
    # Equal weights become ones.
    assert found.weights.tolist() == [[1.0, 1.0]]


def test_photos_of_a_batch_vote_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.nn.functional.normalize(torch.randn(30, 8, generator=generator), dim=1)
    bank = Bank(rows, torch.arange(30) % 4, ("a", "b", "c", "d"), "net", "f" * 16)
    features = torch.randn(5, 8, generator=generator)
    together = vote(features, bank, k=7, temperature=0.07, unit=True)
    for row in range(5):
        alone = vote(features[row : row + 1], bank, k=7, temperature=0.07, unit=True)
        assert_close(together.weights[row], alone.weights[0])


def test_features_that_are_not_finite_have_weights_all_the_same() -> None:
    found = vote(torch.tensor([[torch.nan, 1.0]]), bank_of([[1.0, 0.0]], [0]), k=1, temperature=0.07, unit=True)
    assert found.weights.isfinite().all()


def test_a_sum_of_zero_is_left_alone() -> None:
    assert over_its_sum(torch.tensor([[1.0, -1.0], [1.0, -3.0]])).tolist() == [[1.0, -1.0], [0.5, -1.5]]
    assert unit_columns(torch.tensor([[2.0, 2.0], [1.0, 3.0]])).tolist() == [[1.0, 1.0], [0.0, 1.0]]
