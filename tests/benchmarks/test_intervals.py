"""The simulation of intervals counts what it says it counts."""

from __future__ import annotations

import math

import pytest

from benchmarks.intervals import COVERED, PLAIN, REJECTED, Case, covered, share
from xaicli.results.intervals import Estimate


def test_a_share_has_its_binomial_error_and_bounds_that_leave_room_for_two():
    figure = share("what", 94, 100, least=COVERED)
    error = math.sqrt(0.94 * 0.06 / 100)
    assert figure.values == (0.94,)
    assert figure.unit == f"± {error:.4f}"
    assert figure.least == pytest.approx(COVERED - 2 * error, abs=1e-4)
    assert share("what", 6, 100, limit=REJECTED).limit > REJECTED


def test_coverage_is_of_draws_with_an_interval_and_optimistic_ones_are_not_held_to_it():
    case = Case("normal", PLAIN, lambda r, n: r.normal(size=n), 0.0, lambda values, quantity: Estimate(0.0, None, None, 5, 5))
    hit, miss, none = Estimate(0.0, -1.0, 1.0, 5, 5), Estimate(2.0, 1.0, 3.0, 5, 5), Estimate(1.0, None, None, 5, 5)
    without, coverage = covered("mean", case, 5, [hit, miss, none, hit])
    assert (without.what, without.values) == ("mean, normal, 5 photos: no interval", (0.25,))
    assert (coverage.what, coverage.values) == ("mean, normal, 5 photos: coverage", (2 / 3,))
    assert coverage.least is not None
    (optimistic,) = covered("mean", case, 5, [Estimate(0.0, -1.0, 1.0, 5, 5, optimistic=True)])
    assert optimistic.what.endswith("coverage ~")
    assert optimistic.least is None
