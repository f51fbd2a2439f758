"""Each mask alone follows one law, whatever the sampling; masks of a unit depend on each other as their sampling says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch.testing import assert_close

from xaicli.methods.rise.mask_laws import Drawn, MaskLaw
from xaicli.methods.rise.masks import MaskGrid

GRID = MaskGrid((12, 15), (3, 4))
SAMPLINGS = ["iid", "antithetic", "balanced"]


def draw(law: MaskLaw, chunks: int, seed: int = 5) -> Drawn:
    parts = [law.draw(seed, chunk) for chunk in range(chunks)]
    return Drawn(torch.cat([part.bits for part in parts]), torch.cat([part.shifts for part in parts]))


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("p", [0.5, 0.1, 0.37])
def test_every_cell_is_open_with_probability_p_and_every_shift_equally_likely(sampling, p):
    law = MaskLaw(GRID, (p,), sampling)
    drawn = draw(law, chunks=40)
    units = len(drawn.bits) // law.unit
    # Five standard deviations, were the masks of a unit all alike.
    assert_close(drawn.bits.double().mean(dim=0), torch.full((12,), p).double(), rtol=0, atol=5 * (p * (1 - p) / units) ** 0.5)
    for axis, shifts in enumerate(GRID.cell):
        share = drawn.shifts[:, axis].bincount(minlength=shifts).double() / len(drawn.bits)
        assert len(share) == shifts
        assert_close(share, torch.full((shifts,), 1 / shifts).double(), rtol=0, atol=5 * (0.25 / units) ** 0.5)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_cells_of_a_mask_are_independent_of_each_other_and_of_the_shift(sampling):
    law = MaskLaw(GRID, (0.3,), sampling)
    drawn = draw(law, chunks=80)
    columns = torch.cat([drawn.bits.double(), drawn.shifts.double()], dim=1)
    correlation = torch.corrcoef(columns.T) - torch.eye(14)
    assert correlation.abs().max() < 5 / (len(columns) / law.unit) ** 0.5


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_number_of_open_cells_is_binomial(sampling):
    law = MaskLaw(GRID, (0.3,), sampling)
    drawn = draw(law, chunks=80)
    share = drawn.bits.sum(dim=1).bincount(minlength=13).double() / len(drawn.bits)
    tolerance = 5 * (0.25 / (len(drawn.bits) / law.unit)) ** 0.5
    assert_close(share, torch.from_numpy(binom.pmf(np.arange(13), 12, 0.3)), rtol=0, atol=tolerance)


def test_antithetic_masks_are_a_grid_and_its_complement_at_one_shift():
    drawn = MaskLaw(GRID, (0.5,), "antithetic").draw(1, 0)
    assert torch.equal(drawn.bits[0::2], ~drawn.bits[1::2])
    assert torch.equal(drawn.shifts[0::2], drawn.shifts[1::2])


def test_antithetic_masks_of_few_open_cells_never_share_one():
    drawn = MaskLaw(GRID, (0.3,), "antithetic").draw(1, 0)
    assert not (drawn.bits[0::2] & drawn.bits[1::2]).any()


@pytest.mark.parametrize(("p", "unit"), [(0.5, 8), (0.25, 8), (0.1, 10), (0.3, 10), (0.2, 10)])
def test_balanced_blocks_open_each_cell_equally_often_at_one_shift(p, unit):
    law = MaskLaw(GRID, (p,), "balanced")
    drawn = law.draw(1, 0)
    assert law.unit == unit
    assert law.even
    blocks = drawn.bits.reshape(-1, unit, 12)
    assert (blocks.sum(dim=1) == round(p * unit)).all()
    assert (drawn.shifts.reshape(-1, unit, 2) == drawn.shifts[::unit, None]).all()


def test_balanced_blocks_where_p_fits_no_block_differ_by_one_at_most():
    law = MaskLaw(GRID, (0.37,), "balanced")
    counts = law.draw(1, 0).bits.reshape(-1, law.unit, 12).sum(dim=1)
    assert set(counts.flatten().tolist()) == {5, 6}
    assert not law.even


def test_several_p_take_turns_unit_by_unit():
    law = MaskLaw(GRID, (0.1, 0.9), "antithetic")
    share = draw(law, chunks=20).bits.double().mean(dim=1).reshape(-1, 2, 2).mean(dim=(0, 2))
    assert law.mean == pytest.approx(0.5)
    assert_close(share, torch.tensor([0.1, 0.9]).double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_chunk_is_the_same_whatever_was_drawn_before_and_differs_from_others(sampling):
    law = MaskLaw(GRID, (0.5,), sampling)
    law.draw(9, 0)
    again, other, stranger = law.draw(9, 3), law.draw(9, 4), law.draw(10, 3)
    first = MaskLaw(GRID, (0.5,), sampling).draw(9, 3)
    assert torch.equal(first.bits, again.bits)
    assert torch.equal(first.shifts, again.shifts)
    assert not torch.equal(first.bits, other.bits)
    assert not torch.equal(first.bits, stranger.bits)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_chunk_holds_whole_units(sampling):
    for p in (0.5, 0.1, 0.37):
        law = MaskLaw(GRID, (p,), sampling)
        assert law.chunk % law.unit == 0
        assert 240 <= law.chunk <= 256
        assert len(law.draw(0, 0).bits) == law.chunk


def test_drawing_leaves_the_global_generators_alone():
    def numpy_state() -> list[int]:
        return np.random.get_state()[1].tolist()  # noqa: NPY002, since it is the old generator that must not move

    before = torch.get_rng_state(), numpy_state()
    for sampling in SAMPLINGS:
        MaskLaw(GRID, (0.5,), sampling).draw(1, 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == numpy_state()
