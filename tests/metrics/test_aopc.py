"""Area over the perturbation curve on tiny models."""

from __future__ import annotations

import pytest
import torch

from xaicli.metrics.aopc import AOPC


def test_single_pixels_of_a_sum(summing, grey):
    """Outputs 1, .6, .3, .1, 0: losses 0, .4, .7, .9, 1, their mean .6."""
    photo = grey([[[0.4, 0.1, 0.2, 0.3]]])
    row = summing((1, 4)).rows(AOPC(region=1, baseline="zero"), photo, photo[:, 0])[0]
    assert row.curve.y == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    assert row.value == pytest.approx(0.6, abs=1e-6)


def test_it_stops_after_its_regions(summing, grey):
    photo = grey([[[0.4, 0.1, 0.2, 0.3]]])
    row = summing((1, 4)).rows(AOPC(region=1, regions=2, baseline="zero"), photo, photo[:, 0])[0]
    assert row.value == pytest.approx((0 + 0.4 + 0.7) / 3, abs=1e-6)


def test_regions_are_squares_ordered_by_their_mean_and_cut_off_at_the_border(summing, grey):
    """3 x 3 pixels in squares of 2: sums .4, .16, .1 and .3 of 4, 2, 2 and 1 pixels; the corner has the largest mean."""
    photo = grey([[[0.1, 0.1, 0.08], [0.1, 0.1, 0.08], [0.05, 0.05, 0.3]]])
    row = summing((3, 3)).rows(AOPC(region=2, baseline="zero"), photo, photo[:, 0])[0]
    assert row.curve.y == pytest.approx([0.96, 0.66, 0.26, 0.1, 0], abs=1e-6)


def test_logits_can_be_read_instead(desk, grey):
    given = desk(lambda x: torch.stack([x.sum(dim=(1, 2, 3)), torch.zeros(len(x))], 1), (1, 2))
    photo = grey([[[2.0, 1.0]]])
    row = given.rows(AOPC(region=1, baseline="zero", output="logit"), photo, photo[:, 0])[0]
    assert row.curve.y == pytest.approx([9, 3, 0], abs=1e-5)
    assert row.value == pytest.approx((0 + 6 + 9) / 3, abs=1e-5)


def test_it_costs_a_pass_a_region(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    metric = AOPC()
    desk(network, (32, 32), 5).rows(metric, photo_batch[:1], photo_batch[:1, 0])
    assert network.photos == 1 + metric.passes((32, 32)) == 1 + 16
