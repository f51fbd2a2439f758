"""Estimators against the explicit stack of masks, exactly where all samples of a tiny law can be written out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from xaicli.methods.rise.mask_estimates import RIDGE, Sample, estimate
from xaicli.methods.rise.mask_laws import Drawn, MaskLaw
from xaicli.methods.rise.masks import MaskGrid, MaskPainter

GRID = MaskGrid((9, 14), (3, 4))
SAMPLINGS = ["iid", "antithetic", "balanced"]
TIGHT = {"rtol": 0, "atol": 1e-10}


def masks_of(law: MaskLaw, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The first grids (N, cells) and masks (N, H, W) of a law, in float64, all at once."""
    parts = [law.draw(seed, chunk) for chunk in range(math.ceil(count / law.chunk))]
    bits = torch.cat([part.bits for part in parts])[:count].double()
    shifts = torch.cat([part.shifts for part in parts])[:count]
    return bits, MaskPainter(law.grid.rows, law.grid.columns, law.grid.cells).masks(bits, shifts)


def sample_of(law: MaskLaw, count: int, seed: int = 3) -> tuple[Sample, Tensor, Tensor]:
    """Scores that bend: the product of two pixels of the mask and a threshold of a third."""
    bits, masks = masks_of(law, count, seed)
    scores = masks[:, 4, 6] * masks[:, 1, 12] + 0.3 * (masks[:, 7, 2] > 0.6) + 0.5
    return Sample(law, seed, scores), bits, masks


def weighted(weights: Tensor, masks: Tensor) -> Tensor:
    return (weights[:, None, None] * masks).sum(dim=0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("p", [(0.5,), (0.3,), (0.3, 0.6)])
def test_naive_is_the_mean_of_score_times_mask_over_p(sampling, p):
    sample, _, masks = sample_of(MaskLaw(GRID, p, sampling), 200)
    expected = weighted(sample.scores, masks) / (200 * sum(p) / len(p))
    assert_close(estimate(sample, "naive").values, expected, **TIGHT)


def test_center_is_the_mean_score_and_the_sample_covariance_for_independent_masks():
    sample, _, masks = sample_of(MaskLaw(GRID, (0.3,), "iid"), 200)
    covariance = weighted(sample.scores - sample.scores.mean(), masks) / 199
    assert_close(estimate(sample, "center").values, sample.scores.mean() + covariance / 0.3, **TIGHT)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_center_takes_from_each_unit_the_mean_score_of_the_others(sampling):
    law = MaskLaw(GRID, (0.3,), sampling)
    count = 3 * law.unit + 1
    sample, _, masks = sample_of(law, count)
    expected = torch.zeros(9, 14, dtype=torch.float64)
    for at in range(count):
        others = torch.cat([sample.scores[: at // law.unit * law.unit], sample.scores[(at // law.unit + 1) * law.unit :]]).mean()
        expected += (others + (sample.scores[at] - others) * masks[at] / 0.3) / count
    assert_close(estimate(sample, "center").values, expected, **TIGHT)


@pytest.mark.parametrize("sampling", ["antithetic", "balanced"])
def test_centring_changes_nothing_where_coverage_has_no_noise(sampling):
    sample, _, _ = sample_of(MaskLaw(GRID, (0.5,), sampling), 400)
    assert_close(estimate(sample, "center").values, estimate(sample, "naive").values, **TIGHT)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_regress_is_the_cross_fitted_ridge_written_out(sampling):
    law = MaskLaw(GRID, (0.4,), sampling)
    sample, bits, masks = sample_of(law, 520)
    unit = torch.arange(520) // law.unit
    centred = bits - 0.4
    parts = []
    for fold in range(5):
        inside = unit % 5 == fold
        x, y = centred[~inside], sample.scores[~inside]
        # Ridge with a free constant: centre both, then add the constant back.
        moved = x - x.mean(dim=0)
        penalty = RIDGE * len(x) * 0.4 * 0.6 * torch.eye(12)
        slope = torch.linalg.solve(moved.T @ moved + penalty, moved.T @ (y - y.mean()))
        constant = y.mean() - x.mean(dim=0) @ slope
        residual = sample.scores[inside] - constant - centred[inside] @ slope
        own = constant + 0.6 * GRID.rows.mean(dim=0) @ slope.reshape(3, 4) @ GRID.columns.mean(dim=0).T
        parts.append(own + weighted(residual, masks[inside]) / (int(inside.sum()) * 0.4))
    assert_close(estimate(sample, "regress").values, torch.stack(parts).mean(dim=0), rtol=0, atol=1e-8)


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_error_is_read_between_eight_groups_of_whole_units(estimator, sampling):
    law = MaskLaw(GRID, (0.5,), sampling)
    sample, _, masks = sample_of(law, 1024)
    found = estimate(sample, estimator)
    group = (torch.arange(1024) // law.unit) % 8
    if estimator == "naive":
        maps = torch.stack([weighted(sample.scores[group == k], masks[group == k]) / (128 * 0.5) for k in range(8)])
        assert_close(found.standard_error, maps.var(dim=0).div(8).sqrt(), **TIGHT)
    noise = float(found.standard_error.square().mean())
    signal = float(found.values.var(unbiased=False)) - noise
    assert found.error == pytest.approx((noise / signal) ** 0.5)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_below_eight_units_no_error_is_claimed(sampling):
    law = MaskLaw(GRID, (0.5,), sampling)
    sample, _, _ = sample_of(law, 7 * law.unit)
    found = estimate(sample, "center")
    assert math.isnan(found.error)
    assert found.standard_error.isnan().all()
    assert found.values.isfinite().all()


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
def test_the_standard_error_is_the_spread_over_seeds(estimator):
    law = MaskLaw(GRID, (0.5,), "antithetic")
    found = [estimate(sample_of(law, 1024, seed)[0], estimator) for seed in range(40)]
    spread = torch.stack([each.values for each in found]).var(dim=0).mean()
    claimed = torch.stack([each.standard_error.square() for each in found]).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.35)


def test_a_constant_score_has_a_flat_map_without_error():
    law = MaskLaw(GRID, (0.5,), "antithetic")
    found = estimate(Sample(law, 1, torch.full((512,), 0.25, dtype=torch.float64)), "center")
    assert_close(found.values, torch.full((9, 14), 0.25, dtype=torch.float64), **TIGHT)
    assert_close(found.standard_error, torch.zeros(9, 14, dtype=torch.float64), **TIGHT)


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
def test_a_score_that_is_not_a_number_makes_no_map(estimator):
    sample, _, _ = sample_of(MaskLaw(GRID, (0.5,), "antithetic"), 300)
    sample.scores[17] = math.nan
    assert estimate(sample, estimator).values.isnan().any()


@dataclass(frozen=True)
class WrittenOut(MaskLaw):
    """A law whose sample number `seed` is one of all samples of two masks of the 4 x 4 picture."""

    @property
    def chunk(self) -> int:
        return 2

    def draw(self, seed: int, chunk: int) -> Drawn:
        indices = torch.tensor([seed // 64, seed % 64])
        bits = torch.stack([indices // 4 // 2**place % 2 for place in range(4)], dim=1).bool()
        return Drawn(bits, torch.stack([indices % 4 // 2, indices % 2], dim=1))


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
def test_the_mean_over_all_samples_of_two_masks_is_the_saliency_exactly(estimator):
    law = WrittenOut(MaskGrid((4, 4), (2, 2)), (0.5,), "iid")
    bits, masks = [], []
    for seed in range(0, 4096, 65):
        pair_bits, pair_masks = masks_of(law, 2, seed)
        bits.append(pair_bits[0])
        masks.append(pair_masks[0])
    every = torch.stack(masks)
    scores = (every[:, 1, 2] > 0.5).double()
    exact = weighted(scores, every) / 64 / 0.5
    mean = torch.stack(
        [estimate(Sample(law, seed, scores[[seed // 64, seed % 64]]), estimator).values for seed in range(4096)]
    ).mean(dim=0)
    assert_close(mean, exact, rtol=0, atol=1e-12)
    assert len({tuple(row.tolist()) for row in bits}) == 16


def test_centring_on_the_mean_of_the_same_two_masks_would_be_biased_by_half():
    law = WrittenOut(MaskGrid((4, 4), (2, 2)), (0.5,), "iid")
    every = torch.stack([masks_of(law, 2, seed)[1][0] for seed in range(0, 4096, 65)])
    scores = (every[:, 1, 2] > 0.5).double()
    exact = weighted(scores, every) / 64 / 0.5
    first, second = torch.arange(64).repeat_interleave(64), torch.arange(64).repeat(64)
    means = (scores[first] + scores[second]) / 2
    biased = means.mean() + sum(weighted(scores[which] - means, every[which]) for which in (first, second)) / 4096 / (2 * 0.5)
    assert_close(biased, exact - (exact - scores.mean()) / 2, rtol=0, atol=1e-12)


def test_variances_of_one_mask_and_of_one_pair():
    law = WrittenOut(MaskGrid((4, 4), (2, 2)), (0.5,), "iid")
    every = torch.stack([masks_of(law, 2, seed)[1][0] for seed in range(0, 4096, 65)])
    bits = torch.stack([masks_of(law, 2, seed)[0][0] for seed in range(0, 4096, 65)])
    scores = (every[:, 1, 2] > 0.5).double()

    def variance(weights: Tensor, masks: Tensor) -> float:
        return float((weights[:, None, None] * masks / 0.5).var(dim=0, unbiased=False).mean())

    design = torch.cat([torch.ones(64, 1, dtype=torch.float64), bits - 0.5], dim=1)
    fit = torch.linalg.lstsq(design, scores[:, None]).solution[:, 0]
    assert_close(fit, torch.tensor([0.5, 0.5, 0.5, 0.125, 0.125], dtype=torch.float64), rtol=0, atol=1e-12)
    assert variance(scores, every) == pytest.approx(0.717888, abs=5e-7)
    assert variance(scores - scores.mean(), every) == pytest.approx(0.347903, abs=5e-7)
    assert variance(scores - design @ fit, every) == pytest.approx(0.171332, abs=5e-7)
    partner = [int(((bits == 1 - bits[at]).all(dim=1) & (torch.arange(64) % 4 == at % 4)).nonzero()) for at in range(64)]
    pairs = (scores[:, None, None] * every + scores[partner, None, None] * every[partner]) / 2 / 0.5
    assert float(pairs.var(dim=0, unbiased=False).mean()) == pytest.approx(0.097903, abs=5e-7)
