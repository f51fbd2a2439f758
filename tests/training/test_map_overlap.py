"""Intersection over union of marked places, against the numbers of LFI-CAM's specification."""

import numpy as np
import pytest

from xaicli.training.map_overlap import in_eight_bits, iou, iou_as_published, iou_of_rows

BASE, TARGET = np.array([[[200.0, 50], [150, 0]]]) / 255, np.array([[[200.0, 150], [0, 0]]]) / 255


def test_over_the_whole_map_a_third_is_shared():
    assert iou(BASE, TARGET).tolist() == [pytest.approx(1 / 3)]


def test_maps_that_mark_nothing_agree_and_a_map_agrees_with_itself():
    nothing = np.zeros((1, 3, 3))
    assert iou(nothing, nothing).tolist() == [1.0]
    assert iou(BASE, BASE).tolist() == [1.0]
    assert iou(BASE, 0 * BASE).tolist() == [0.0]


def test_row_by_row_it_is_another_number_and_empty_rows_raise_it():
    base, target = BASE * 255 > 100, TARGET * 255 > 100
    assert iou_of_rows(base, target).tolist() == [pytest.approx(0.250001, abs=1e-6)]
    empty = np.zeros((1, 1, 2), dtype=bool)
    longer = iou_of_rows(np.concatenate([base, empty], axis=1), np.concatenate([target, empty], axis=1))
    assert longer.tolist() == [pytest.approx(0.5, abs=1e-6)]


def test_in_eight_bits_the_peak_becomes_zero_and_is_not_marked():
    maps = np.array([[[1.0, 0.99], [0.5, 0.0]]])
    assert in_eight_bits(maps)[0, 0, 0] == 0
    assert in_eight_bits(maps)[0, 0, 1] > 250
    assert iou(maps, maps).tolist() == [1.0]
    alone = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    # Nothing is left of a map with a single peak: both rows are empty, and count 1.
    assert iou_as_published(alone, alone).tolist() == [1.0]
    assert iou_as_published(alone, maps)[0] < 0.6
