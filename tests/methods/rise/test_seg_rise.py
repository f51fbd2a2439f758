"""Seg-RISE: masks weighted by how much of a class map's prediction they leave."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import UsageError
from xaicli.method import Sign
from xaicli.methods.rise.masks import MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.network.regions import FixedRegion, predicted
from xaicli.outputs import Outputs
from xaicli.targets import TargetRule, Targets


class Bright(nn.Module):
    """Class 1 where the mean of the colours is above 0.2, in blocks of 2 x 2 pixels."""

    def forward(self, inputs: Tensor) -> Tensor:
        shares = nn.functional.avg_pool2d(inputs, 2).mean(dim=1)
        return torch.stack([torch.full_like(shares, 0.2), shares], dim=1)


def test_seg_rise_is_the_mean_of_masks_weighted_by_dice():
    """sum_n w_n M_n / (N p), w_n = 2 |A and B_n| / (|A| + |B_n|): class 1 is predicted in A, and in B_n under mask n."""
    classifier = xaicli.classifier(
        Bright(), classes=["dark", "bright"], resize=None, crop=(12, 16), mean=(0, 0, 0), std=(1, 1, 1)
    )
    photo = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(3))
    photo[..., :8] *= 0.4
    clean = predicted(classifier.class_map(photo), Outputs.SOFTMAX)[0]
    bound = classifier.for_region(FixedRegion(clean[1], clean))
    rise = RISE(n_masks=24, grid=3, score="dice", estimator="naive", sampling="iid")
    maps = rise.attribute(bound, photo, Targets((TargetRule(index=1),), bound.outputs), torch.tensor([5]))
    law = rise.law((12, 16))
    drawn = law.draw(5, 0)
    masks = MaskPainter.on(torch.device("cpu"), law.grid).masks(drawn.bits[:24].float(), drawn.shifts[:24])
    now = predicted(classifier.class_map(photo * masks[:, None]), Outputs.SOFTMAX)[:, 1]
    both, total = (now & clean[1]).sum(dim=(1, 2)), now.sum(dim=(1, 2)) + clean[1].sum()
    weights = 2 * both / total
    assert len(weights.unique()) > 10
    assert_close(maps.values[0, 0], torch.einsum("n,nhw->hw", weights, masks) / (24 * 0.5), atol=1e-5, rtol=1e-4)
    assert rise.sign is Sign.NONNEGATIVE


def test_seg_rise_needs_class_maps(classifier_of, tiny_cnn):
    with pytest.raises(UsageError, match=r"rise@score=dice compares class maps"):
        RISE(score="dice").require(classifier_of(tiny_cnn))


def test_masks_keep_half_of_the_cells():
    """The authors of Seg-RISE keep a cell where a normal number is below 0.1, which is P(N(0, 1) < 0.1) = 0.539828 of them."""
    drawn = RISE(n_masks=4096, sampling="iid").law((14, 14)).draw(0, 0)
    kept = float(drawn.bits.float().mean())
    assert kept == pytest.approx(0.5, abs=0.02)
    assert abs(kept - 0.5 * (1 + math.erf(0.1 / math.sqrt(2)))) > 0.02
