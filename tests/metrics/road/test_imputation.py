"""Linear imputation: the specification's exact fills, and the direct solution of the sparse system."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from xaicli.metrics.road.imputation import coarser, finer, impute

EXACT = 1e-7


def fill(picture: list[list[float]], removed: list[tuple[int, int]]) -> Tensor:
    """One grey picture with pixels (row, column) removed and filled; their old values must not matter."""
    values = torch.tensor(picture)
    mask = torch.zeros(values.shape, dtype=torch.bool)
    for row, column in removed:
        mask[row, column] = True
    return impute(torch.where(mask, 99.0, values)[None, None], mask[None], EXACT)[0, 0]


NINE = [[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_a_centre_is_the_weighted_mean_of_its_neighbours():
    assert fill([[1.0, 2, 3], [4, 0, 6], [7, 8, 12]], [(1, 1)])[1, 1].item() == pytest.approx(5.25, abs=1e-5)


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ([(0, 0)], [3.4]),
        ([(0, 1)], [3.5]),
        ([(1, 1), (1, 2)], [4.913043, 5.478261]),
        ([(0, 0), (0, 1), (0, 2)], [4.6, 5.0, 5.4]),
        ([(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)], [5.0] * 8),
    ],
)
def test_borders_and_neighbouring_gaps_of_nine_pixels(removed, expected):
    filled = fill(NINE, removed)
    assert [filled[place].item() for place in removed] == pytest.approx(expected, abs=1e-5)


def test_a_row_is_filled_by_a_ramp():
    assert fill([[0.0, 0, 0, 0, 8]], [(0, 1), (0, 2), (0, 3)])[0].tolist() == pytest.approx([0, 2, 4, 6, 8], abs=1e-5)


def test_a_ramp_is_continued_exactly():
    ramp = torch.arange(25.0).view(5, 5)
    assert_close(fill(ramp.tolist(), [(y, x) for y in (1, 2, 3) for x in (1, 2, 3)]), ramp, atol=1e-5, rtol=0)


def test_four_pixels_beside_a_bright_column():
    picture = [[1.0, 0, 0, 0]] * 4
    filled = fill(picture, [(y, x) for y in (1, 2) for x in (1, 2)])
    assert_close(filled[1:3, 1:3], torch.tensor([[0.439560, 0.131868]] * 2), atol=1e-5, rtol=0)


def test_nothing_removed_changes_nothing():
    pictures = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(impute(pictures, torch.zeros(2, 9, 7, dtype=torch.bool)), pictures)


def test_where_all_is_removed_the_fill_is_the_mean_colour():
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    removed = torch.zeros(2, 8, 8, dtype=torch.bool)
    removed[1] = True
    filled = impute(pictures, removed)
    assert torch.equal(filled[0], pictures[0])
    assert_close(filled[1], pictures[1].mean(dim=(1, 2), keepdim=True).expand(3, 8, 8))


def blob(side: int, share: float, seed: int = 0) -> Tensor:
    coarse = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    values = functional.interpolate(coarse, (side, side), mode="bilinear")[0, 0]
    return values > values.flatten().quantile(1 - share)


def scattered(side: int, share: float) -> Tensor:
    return torch.rand(side, side, generator=torch.Generator().manual_seed(1)) < share


def picture(side: int) -> Tensor:
    coarse = torch.rand(1, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(2))
    return functional.interpolate(coarse, (side, side), mode="bilinear")


def direct(colours: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The same system assembled pixel by pixel and factorised: (C, H, W)."""
    height, width = removed.shape
    places = {place: at for at, place in enumerate(zip(*np.nonzero(removed), strict=True))}
    matrix = scipy.sparse.lil_matrix((len(places), len(places)))
    right = np.zeros((len(places), len(colours)))
    for (y, x), row in places.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near = (y + dy, x + dx)
                if (dy, dx) == (0, 0) or not (0 <= near[0] < height and 0 <= near[1] < width):
                    continue
                weight = 1 / 6 if 0 in (dy, dx) else 1 / 12
                matrix[row, row] += weight
                if near in places:
                    matrix[row, places[near]] -= weight
                else:
                    right[row] += weight * colours[:, near[0], near[1]]
    solved = colours.copy()
    solved[:, removed] = scipy.sparse.linalg.splu(matrix.tocsc()).solve(right).T
    return solved


@pytest.mark.parametrize("shape", [blob, scattered])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("side", [33, 48])
def test_the_solution_is_that_of_the_factorised_system(shape, share, side):
    colours, removed = picture(side), shape(side, share)
    expected = direct(colours[0].double().numpy(), removed.numpy())
    assert_close(impute(colours, removed[None])[0].double(), torch.from_numpy(expected), atol=1e-3, rtol=0)


@pytest.mark.slow
def test_a_large_blob_is_filled_as_the_factorised_system_fills_it():
    colours, removed = picture(224), blob(224, 0.5)
    expected = direct(colours[0].double().numpy(), removed.numpy())
    assert_close(impute(colours, removed[None], 1e-6)[0].double(), torch.from_numpy(expected), atol=1e-3, rtol=0)


def test_fills_stay_within_the_range_of_what_is_kept():
    colours, removed = picture(48), blob(48, 0.7)
    kept = colours[0][:, ~removed]
    filled = impute(colours, removed[None])[0][:, removed]
    assert (filled >= kept.amin(dim=1, keepdim=True) - 1e-3).all()
    assert (filled <= kept.amax(dim=1, keepdim=True) + 1e-3).all()


def test_a_constant_picture_stays_constant():
    colours = torch.full((1, 3, 31, 40), 0.3)
    removed = torch.rand(1, 31, 40, generator=torch.Generator().manual_seed(3)) < 0.8
    assert_close(impute(colours, removed), colours, atol=1e-4, rtol=0)


def test_pictures_are_filled_each_for_itself():
    colours = torch.cat([picture(32), picture(32).flip(3)])
    removed = torch.stack([blob(32, 0.5), scattered(32, 0.9)])
    together = impute(colours, removed)
    for row in range(2):
        assert_close(together[row], impute(colours[row : row + 1], removed[row : row + 1])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 9)])
def test_going_to_a_coarser_grid_is_the_adjoint_of_going_to_a_finer_one(size):
    """What makes the preconditioner symmetric, as conjugate gradients need it."""
    generator = torch.Generator().manual_seed(4)
    fine = torch.randn(1, 1, *size, generator=generator, dtype=torch.float64)
    coarse = torch.randn(1, 1, *(math.ceil(side / 2) for side in size), generator=generator, dtype=torch.float64)
    assert (coarser(fine) * coarse).sum().item() == pytest.approx((fine * finer(coarse, fine.shape)).sum().item(), abs=1e-9)
