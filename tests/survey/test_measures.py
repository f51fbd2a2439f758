"""What makes a photo worth a look, in numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaicli.survey.measures import (
    border_share,
    corner_share,
    disagreement,
    doubt,
    energy,
    overlap,
    overlap_at_half,
    place_in_words,
    place_of,
    quadrant,
)

EVEN = np.full((16, 16), 1 / 256)
MASK = np.array([[True, True], [False, False]])
"""XEdgeAI, self-check 5."""


def test_methods_that_rank_alike_do_not_disagree_and_opposite_ones_do_by_two() -> None:
    ramp = np.arange(16.0).reshape(4, 4)
    assert disagreement([ramp, 3 * ramp]) == pytest.approx(0)
    assert disagreement([ramp, 15 - ramp]) == pytest.approx(2)
    # The pairs (same, same), (same, opposite), (same, opposite): 1 - (1 - 1 - 1) / 3.
    assert disagreement([ramp, ramp, 15 - ramp]) == pytest.approx(4 / 3)


def test_one_map_or_constant_ones_cannot_disagree() -> None:
    assert disagreement([EVEN]) is None
    assert disagreement([EVEN, None]) is None
    assert disagreement([EVEN, EVEN]) is None


def test_an_even_map_has_its_areas_share_at_the_border_and_in_a_corner() -> None:
    assert border_share(EVEN) == pytest.approx(7 / 16)
    assert border_share(np.full((4, 4), 1 / 16)) == pytest.approx(7 / 16)
    assert corner_share(EVEN) == pytest.approx(1 / 16)


def test_a_spot_in_a_corner_is_found_there() -> None:
    spot = np.zeros((16, 16))
    spot[14, 1] = 1
    assert border_share(spot) == 1
    assert corner_share(spot) == 1
    assert place_in_words(*place_of(spot.reshape(4, 4, 4, 4).sum(axis=(1, 3)))) == "lower left corner"


def test_the_middle_is_no_place_at_the_border() -> None:
    parts = np.array([[0, 0, 0, 0], [0, 9, 9, 1], [0, 9, 9, 0], [0, 0, 0, 0.5]])
    assert place_in_words(*place_of(parts)) == "right edge"


def test_energy_and_overlap_are_those_of_the_specification() -> None:
    weights = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert energy(weights, MASK) == pytest.approx(0.5)
    assert overlap_at_half(weights, MASK) == pytest.approx(2 / 3)


def test_energy_does_not_depend_on_the_resolution_of_the_mask() -> None:
    weights = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert energy(weights, np.kron(MASK, np.ones((3, 3))).astype(np.bool_)) == pytest.approx(0.5)


def test_overlap_of_two_masks() -> None:
    assert overlap(MASK, np.array([[True, False], [True, False]])) == pytest.approx(1 / 3)
    assert overlap(MASK, MASK) == 1
    assert overlap(~MASK & MASK, ~MASK & MASK) is None


def test_the_four_quadrants() -> None:
    assert quadrant(0.9, 0.9) == "fine"
    assert quadrant(0.9, 0.1) == "shortcut"
    assert quadrant(0.1, 0.9) == "suspect label"
    assert quadrant(0.1, 0.1) == "missed"


def test_doubt_is_entropy_with_the_rest_as_one_class() -> None:
    assert doubt([1.0]) == 0
    assert doubt([0.5, 0.25]) == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
