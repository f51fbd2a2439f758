"""How alike maps are: rank correlation and structural similarity."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from xaicli.scoring.similarity import spearman, ssim


def test_smoothing_is_not_needed_for_ssim_of_small_maps():
    maps = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    assert ssim(maps, maps).tolist() == pytest.approx([1, 1])
    assert ssim(maps, 1 - maps).max() < 0.5


def test_spearman_is_scipys(photo_batch):
    one, other = photo_batch[:, 0].relu(), photo_batch[:, 1]
    expected = [scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one, other, strict=True)]
    assert spearman(one, other).tolist() == pytest.approx(expected)
    assert spearman(torch.ones(1, 4), torch.arange(4.0)[None]).isnan().all()
