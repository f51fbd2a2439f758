import numpy as np
import pytest

from xaicli.compute.overlap import eight_bits, overlap

BASE = np.array([[200, 50], [150, 0]], dtype=np.float32) / 255
TARGET = np.array([[200, 150], [0, 0]], dtype=np.float32) / 255


def test_overlap_is_the_intersection_over_the_union_of_whole_maps():
    assert overlap(BASE, TARGET) == pytest.approx(1 / 3)
    assert overlap(BASE, BASE) == 1


def test_maps_without_anything_above_the_threshold_agree():
    assert overlap(np.zeros((3, 3)), np.full((3, 3), 0.2)) == 1


def test_the_released_script_averages_rows():
    assert overlap(BASE, TARGET, mode="authors_rows") == pytest.approx(0.250001, abs=1e-6)
    with_an_empty_row = [np.vstack([part, np.zeros((1, 2))]) for part in (BASE, TARGET)]
    assert overlap(*with_an_empty_row, mode="authors_rows") == pytest.approx(0.5, abs=1e-6)


def test_the_released_script_loses_the_peak():
    assert eight_bits(np.array([1.0, 0.5, 0.0])).tolist() == [0, 128, 0]
    peak = np.array([[1.0, 0.0]])
    assert overlap(peak, np.zeros((1, 2)), mode="authors_rows") == 1
    assert overlap(peak, np.zeros((1, 2))) == 0
