"""Running moments are those of all arrays at once."""

from __future__ import annotations

import numpy as np
import pytest

from xaicli.survey.moments import RunningMoments


def test_mean_and_deviation_are_those_of_the_stack() -> None:
    # A large common part, on which the sum of squares would lose all digits.
    arrays = np.random.default_rng(0).normal(1e8, 1e-2, (50, 3, 4))
    running = RunningMoments((3, 4))
    for array in arrays:
        running.add(array)
    assert running.n == 50
    assert np.allclose(running.mean, arrays.mean(axis=0), rtol=1e-12)
    assert np.allclose(running.std, arrays.std(axis=0, ddof=1), rtol=1e-4)


def test_one_array_has_no_spread_and_numbers_are_arrays_too() -> None:
    running = RunningMoments()
    running.add(3.0)
    assert (float(running.mean), float(running.std)) == (3, 0)
    running.add(5.0)
    assert float(running.std) == pytest.approx(2**0.5)
