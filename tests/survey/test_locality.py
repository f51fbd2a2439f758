"""The climate study's statistics: the self-checks of its specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaicli.survey.locality import aligned, channel_profile, decay, mean_radius, separability, share_within
from xaicli.survey.moments import RunningMoments

PLACE = (1, 1)


def two_samples() -> np.ndarray:
    """Self-check 1: two samples of 3 lags on a grid of 4 x 4."""
    samples = np.zeros((2, 3, 4, 4))
    samples[0, :, 1, 1] = 4, 2, 1
    samples[1, 0, 1, 2], samples[1, 1, 1, 1], samples[1, 2, 3, 1] = 4, 2, 1
    return samples


def mean_map() -> np.ndarray:
    running = RunningMoments((3, 4, 4))
    for sample in two_samples():
        running.add(np.abs(sample))
    return running.mean


def test_the_profile_over_lags_and_its_decay() -> None:
    assert mean_map().sum(axis=(1, 2)).tolist() == [4, 2, 1]
    profile = channel_profile(mean_map())
    assert profile == pytest.approx([0.5714286, 0.2857143, 0.1428571], abs=1e-7)
    assert decay(profile) == pytest.approx(-0.6931472, abs=1e-7)


def test_the_share_within_a_radius_and_the_mean_radius() -> None:
    assert share_within(mean_map(), PLACE, 1) == pytest.approx(0.9285714, abs=1e-7)
    assert mean_radius(mean_map(), PLACE) == pytest.approx(0.4285714, abs=1e-7)


def test_profiles_in_proportion_are_not_separable() -> None:
    assert separability([np.array([4.0, 2, 1]), np.array([8.0, 4, 2])]) == pytest.approx(0)
    # Means 0.5 and 0.5, from which each share differs by 0.5.
    assert separability([np.array([1.0, 0]), np.array([0.0, 1])]) == pytest.approx(0.5)


def test_alignment_on_a_periodic_grid() -> None:
    mass = np.zeros((5, 5))
    mass[0, 4] = 1
    moved = aligned(mass, (0, 4), periodic=True)
    assert moved[2, 2] == 1
    assert moved.sum() == 1


def test_alignment_on_a_plain_grid_fills_with_zeros() -> None:
    moved = aligned(np.ones((5, 5)), (0, 4))
    assert moved[2, 2] == 1
    assert moved.sum() == 9
    assert moved[2:, :3].all()


def test_a_profile_of_one_channel_has_no_decay() -> None:
    assert math.isnan(decay(np.array([1.0, 0.0])))
