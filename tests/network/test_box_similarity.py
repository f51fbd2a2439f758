"""Similarity of boxes: closed forms of the specification (D-RISE, self-checks 1 to 3 and 7)."""

from __future__ import annotations

import pytest
import torch

from xaicli.network.box_similarity import FixedBoxes, cosine, iou
from xaicli.network.proposals import Proposals

TARGET = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
FOUND = torch.tensor([[[0.0, 0.0, 10.0, 8.0], [0.0, 0.0, 10.0, 5.0], [5.0, 5.0, 15.0, 15.0]]])
SCORES = torch.tensor([[[0.6, 0.4], [0.9, 0.1], [0.8, 0.2]]])
OBJECTNESS = torch.tensor([[0.5, 0.9, 1.0]])
FIXED = FixedBoxes(TARGET, torch.tensor([0]), torch.tensor([[0.8, 0.2]]), floor=0.05)


@pytest.mark.parametrize(
    ("box", "expected"),
    [([5, 5, 15, 15], 25 / 175), ([10, 0, 20, 10], 0), ([0, 0, 10, 10], 1), ([8, 0, 2, 10], 0), ([0, 0, 0, 10], 0)],
)
def test_intersection_over_union_is_that_of_continuous_coordinates(box, expected):
    assert float(iou(TARGET, torch.tensor([[box]], dtype=torch.float32))) == pytest.approx(expected)


def test_the_largest_product_counts_not_the_product_of_the_largest():
    place, best = FIXED.match(Proposals(FOUND, SCORES, OBJECTNESS))
    assert (int(place), float(best)) == (1, pytest.approx(0.4459466))
    place, best = FIXED.match(Proposals(FOUND, SCORES))
    assert (int(place), float(best)) == (0, pytest.approx(0.7533935))


def test_one_hot_scores_of_other_classes_are_not_similar_and_no_scores_neither():
    assert float(cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]]))) == 0
    assert float(cosine(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1, 2))) == 0


def test_faint_proposals_are_not_similar_but_have_a_gradient():
    faint = (SCORES * 0.01).requires_grad_()
    place, best = FIXED.match(Proposals(FOUND, faint))
    assert (int(place), float(best)) == (0, 0.0)
    FIXED.read(Proposals(FOUND, faint))[0, 0].backward()
    torch.testing.assert_close(faint.grad, torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]))


def test_outputs_are_scores_times_objectness_then_similarities():
    outputs = FIXED.read(Proposals(FOUND, SCORES, OBJECTNESS))
    torch.testing.assert_close(outputs, torch.tensor([[0.9 * 0.9, 0.4459466]]))


@pytest.mark.parametrize(
    ("corners", "rows", "columns"),
    [
        ([1, 2, 4, 4], [2, 3], [1, 2, 3]),
        ([1.4, 2, 2.6, 9], [2, 3, 4], [1, 2]),
        ([3.1, 3.1, 3.2, 3.2], [3], [3]),
        ([9, 0, 12, 5], [], []),
    ],
)
def test_a_box_covers_the_pixels_whose_centres_lie_in_it_at_least_one(corners, rows, columns):
    fixed = FixedBoxes(torch.tensor([corners], dtype=torch.float32), torch.tensor([0]), torch.ones(1, 1), 0.05)
    mask = fixed.mask(0, (5, 6))
    assert mask.any(dim=1).nonzero()[:, 0].tolist() == (rows if columns else [])
    assert mask.any(dim=0).nonzero()[:, 0].tolist() == columns
