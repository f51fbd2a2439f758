"""Removal: the probability after the most salient part is replaced, by hand."""

from __future__ import annotations

import pytest
import torch

from xaicli.metrics.deletion import Deletion
from xaicli.metrics.removed_area import Removal


def test_the_most_salient_pixels_are_replaced_and_the_rest_stays(summing, grey):
    """Photos whose probability is the sum of their pixels; half of two pixels is one."""
    photos = grey([[[0.6, 0.2]], [[0.1, 0.3]]])
    maps = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert summing((1, 2)).values(Removal(area=50, baseline="black"), photos, maps) == pytest.approx([0.2, 0.1], abs=1e-4)


def test_it_is_the_point_of_the_deletion_curve(summing, grey):
    photos, maps = grey([[[0.1, 0.2, 0.3, 0.05]]]), torch.tensor([[[1.0, 4.0, 3.0, 2.0]]])
    desk = summing((1, 4))
    row = desk.rows(Deletion(steps=4, baseline="black"), photos, maps)[0]
    for area, at in ((25, 1), (50, 2), (75, 3)):
        left = desk.values(Removal(area=area, baseline="black"), photos, maps)[0]
        assert left == pytest.approx(row.curve.y[at], abs=1e-5)


def test_one_pixel_at_least_is_removed(summing, grey):
    photos, maps = grey([[[0.6, 0.2]]]), torch.tensor([[[1.0, 0.0]]])
    assert summing((1, 2)).values(Removal(area=1, baseline="black"), photos, maps) == pytest.approx([0.2], abs=1e-4)
