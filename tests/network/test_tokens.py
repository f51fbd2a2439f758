"""Layouts of features: tokens keep the order and the shape of the patches, prefix tokens are left out."""

from __future__ import annotations

import pytest
import torch

from xaicli.errors import RunError
from xaicli.network.tokens import Axes, Layout, token_layout


def test_tokens_after_the_prefix_fill_the_grid_row_by_row() -> None:
    tokens = torch.arange(2 * 17 * 4).reshape(2, 17, 4)
    grid = Layout(Axes.TOKENS, (3, 5), prefix=2).to_grid(tokens)
    assert grid.shape == (2, 4, 3, 5)
    for row, column in ((0, 0), (0, 4), (2, 1)):
        assert torch.equal(grid[:, :, row, column], tokens[:, 2 + 5 * row + column])


def test_channels_last_becomes_channels_first() -> None:
    features = torch.randn(2, 3, 5, 4)
    grid = Layout(Axes.CHANNELS_LAST, (3, 5)).to_grid(features)
    assert grid.shape == (2, 4, 3, 5)
    assert torch.equal(grid[1, 2, 0, 4], features[1, 0, 4, 2])


def test_channels_first_stays() -> None:
    features = torch.randn(2, 4, 3, 5)
    assert Layout(Axes.CHANNELS_FIRST, (3, 5)).to_grid(features) is features


@pytest.mark.parametrize(
    ("tokens", "patches", "expected"),
    [
        (15, (3, 5), Layout(Axes.TOKENS, (3, 5), 0)),
        (16, (3, 5), Layout(Axes.TOKENS, (3, 5), 1)),
        (20, (3, 5), Layout(Axes.TOKENS, (3, 5), 5)),
        # Merged two by two, odd sides rounded up: 3 x 5 to 2 x 3.
        (6, (3, 5), Layout(Axes.TOKENS, (2, 3), 0)),
        (96, (16, 24), Layout(Axes.TOKENS, (8, 12), 0)),
        (14, (3, 5), None),
        (200, (3, 5), None),
        (16, None, None),
    ],
)
def test_the_prefix_is_what_the_patches_leave_over(tokens: int, patches: tuple[int, int] | None, expected: Layout | None) -> None:
    assert token_layout(tokens, patches) == expected


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (Layout(Axes.TOKENS, (3, 5), 1), (2, 15, 4)),
        (Layout(Axes.TOKENS, (3, 5), 1), (2, 4, 3, 5)),
        (Layout(Axes.CHANNELS_FIRST, (3, 5)), (2, 15, 4)),
    ],
)
def test_a_tensor_of_another_shape_is_refused(layout: Layout, shape: tuple[int, ...]) -> None:
    with pytest.raises(RunError, match="a feature layer gave"):
        layout.to_grid(torch.zeros(shape))
