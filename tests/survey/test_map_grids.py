"""Maps on one grid: weight is moved, never made or lost."""

from __future__ import annotations

import numpy as np
import pytest

from xaicli.sign import Sign
from xaicli.survey.map_grids import fractions, resampled, shares_of


@pytest.mark.parametrize("size", [(16, 16), (3, 5), (7, 7), (1, 1)])
def test_resampling_keeps_the_sum(size: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).random((7, 5))
    moved = resampled(weights, size)
    assert moved.shape == size
    assert moved.sum() == pytest.approx(weights.sum())


def test_a_cell_spreads_evenly_over_its_area() -> None:
    assert np.allclose(resampled(np.array([[1.0, 0.0], [0.0, 0.0]]), (4, 4))[:2, :2], 0.25)
    # Three columns onto two: the middle one is halved.
    assert np.allclose(resampled(np.array([[1.0, 2.0, 3.0]]), (1, 2)), [[2.0, 4.0]])


def test_only_what_speaks_for_the_target_counts() -> None:
    shares = shares_of(np.array([[3.0, -5.0], [1.0, 0.0]], dtype=np.float32), Sign.SIGNED, 2)
    assert shares is not None
    assert np.allclose(shares, [[0.75, 0.0], [0.25, 0.0]])


@pytest.mark.parametrize("values", [[[-1.0, -2.0]], [[0.0, 0.0]], [[np.nan, 1.0]]])
def test_a_map_that_points_nowhere_has_no_shares(values: list[list[float]]) -> None:
    assert shares_of(np.array(values, dtype=np.float32), Sign.SIGNED) is None


def test_a_mask_becomes_the_covered_share_of_each_cell() -> None:
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[:2, :3] = True
    assert np.allclose(fractions(mask, (2, 2)), [[1.0, 0.5], [0.0, 0.0]])
