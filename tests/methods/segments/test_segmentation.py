"""Segments: a grid, and superpixels that follow edges."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.methods.segments.segmentation import connected, grid, hidden_inputs, lab, segment, segment_count, segment_means, slic

VIEW = View(resize=(32, 32), crop=None)


@pytest.mark.parametrize(
    ("size", "count", "cells"), [((32, 32), 16, 16), ((224, 224), 49, 49), ((20, 45), 9, 8), ((7, 7), 49, 49)]
)
def test_a_grid_has_cells_of_equal_size_to_a_pixel(size, count, cells):
    labels = grid(*size, count)
    assert labels.shape == size
    sizes = torch.bincount(labels.flatten())
    assert len(sizes) == cells
    assert sizes.min() > 0
    rows = torch.unique_consecutive(labels[:, 0], return_counts=True)[1]
    assert rows.max() - rows.min() <= 1


def test_labels_run_along_rows():
    assert grid(2, 4, 8).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_superpixels_follow_a_straight_edge():
    """Two flat halves: no superpixel lies in both."""
    pixels = np.zeros((3, 32, 32))
    pixels[0, :, 13:] = 1.0
    labels = slic(pixels, 16)
    assert not set(labels[:, :13].flat) & set(labels[:, 13:].flat)
    assert 8 <= labels.max() + 1 <= 16


def test_superpixels_are_connected_and_numbered_without_gaps():
    pixels = np.random.default_rng(1).random((3, 40, 56))
    labels = slic(ndimage.gaussian_filter(pixels, (0, 2, 2)), 30)
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    for number in range(labels.max() + 1):
        assert ndimage.label(labels == number)[1] == 1


def test_a_flat_photo_falls_into_the_grid():
    labels = slic(np.full((3, 32, 32), 0.4), 16)
    assert np.array_equal(labels, grid(32, 32, 16).numpy())


def test_loose_pieces_go_to_their_neighbours():
    labels = np.zeros((5, 5), dtype=int)
    labels[:, 3:] = 1
    labels[2, 0] = 1
    labels[0, 4] = 2
    assert connected(labels).tolist() == [
        [0, 0, 0, 1, 2],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
    ]


def test_colours_are_those_of_cielab():
    """Published values of the primaries of sRGB under D65."""
    colours = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0]], dtype=float)[:, None]
    expected = [[53.24, 87.73, 32.30, 100, 0], [80.09, -86.18, 79.19, 0, 0], [67.20, 83.18, -107.86, 0, 0]]
    assert np.allclose(lab(colours)[:, 0], expected, atol=0.02)


def test_segments_depend_on_the_photo_alone():
    photos = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(segment("slic", VIEW, photos[1], 20), segment("slic", VIEW, photos[1].clone(), 20))
    assert segment("slic", VIEW, photos[0], 20).dtype == torch.int64
    assert torch.equal(segment("grid", VIEW, photos[0], 16), grid(32, 32, 16))


def test_nan_pixels_are_divided_somehow():
    labels = segment("slic", VIEW, torch.full((3, 32, 32), torch.nan), 16)
    assert labels.shape == (32, 32)
    assert labels.min() == 0


def test_a_hidden_segment_can_take_its_own_mean_colour():
    photo = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(5))
    labels = grid(4, 4, 4)
    means = segment_means(photo, labels)
    assert_close(means[:, 2, 3], photo[:, 2:, 2:].mean(dim=(1, 2)))
    assert_close(hidden_inputs("segment", VIEW, photo[None], [labels])[0], means)
    assert_close(hidden_inputs("zero", VIEW, photo[None], [labels])[0], torch.zeros(3, 4, 4))


def test_counts_are_told_before_the_photo_is_seen():
    assert segment_count(49, None) == 49
    assert segment_count(8, VIEW) == int(grid(32, 32, 8).max()) + 1
    with pytest.raises(UsageError, match="1025 segments in a photo of 32 x 32 pixels; expected at most 1024"):
        segment("grid", VIEW, torch.zeros(3, 32, 32), 1025)
