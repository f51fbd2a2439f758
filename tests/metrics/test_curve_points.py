"""Deletion and insertion to a stated error of their areas: which points are passed, and what is said of the error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaicli.errors import UsageError
from xaicli.metrics.curve_points import FIRST_INTERVALS, area_error, first_points, interval_variances, next_points
from xaicli.metrics.deletion import Deletion, Insertion

STEPS = 224
PLACES = np.linspace(0, 1, STEPS + 1)


def adaptively(curve, tolerance):
    """The area by the points that are asked for, how many those are beside the ends, and the error that is stated."""
    known = first_points(len(curve))
    while more := next_points(np.array(known), PLACES[known], curve[known], 1 / STEPS, tolerance):
        assert not set(more) & set(known)
        known = sorted([*known, *more])
    points = np.array(known)
    return (
        np.trapezoid(curve[points], PLACES[points]),
        len(points) - 2,
        area_error(points, PLACES[points], curve[points], 1 / STEPS),
    )


def test_a_straight_curve_needs_the_first_look_alone():
    area, passed, error = adaptively(np.linspace(0.9, 0.1, STEPS + 1), 0.002)
    assert (area, passed, error) == (pytest.approx(0.5), FIRST_INTERVALS - 1, pytest.approx(0, abs=1e-12))


def test_a_step_is_found_and_passed_finely():
    curve = np.where(PLACES < 0.31, 0.9, 0.05)
    area, passed, error = adaptively(curve, 0.002)
    assert abs(area - np.trapezoid(curve, PLACES)) <= 0.002
    assert error <= 0.002
    assert passed < 60


def test_an_error_of_nothing_takes_every_point():
    rng = np.random.default_rng(1)
    curve = rng.random(STEPS + 1)
    area, passed, error = adaptively(curve, 1e-9)
    assert (area, passed, error) == (pytest.approx(np.trapezoid(curve, PLACES)), STEPS - 1, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_curve_with_a_value_that_is_not_finite_asks_for_no_more_points(value):
    curve = np.linspace(0.9, 0.1, STEPS + 1)
    curve[112:] = value
    _, passed, error = adaptively(curve, 0.002)
    assert passed == FIRST_INTERVALS - 1
    assert not np.isfinite(error)


def test_the_variance_under_an_interval_is_that_of_a_brownian_bridge():
    """s h^3 / 12 with s from (deviation from the chord)^2 (a + b) / (a b); the area between single steps is known."""
    points = np.array([0, 8, 16])
    places, values = points / 16, np.array([0.0, 0.8, 0.4])
    spread = (0.8 - 0.2) ** 2 * 1 / 0.25
    expected = spread * (0.5**3 - 0.5 / 16**2) / 12
    assert interval_variances(points, places, values, 1 / 16) == pytest.approx([expected, expected])
    assert interval_variances(np.array([0, 1, 2]), places, values, 0.5) == pytest.approx([0, 0])


def test_of_random_walks_49_in_50_areas_lie_inside_the_stated_error():
    """Rougher than curves of networks, of which docs/performance.md says how many lie inside."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        curve = np.cumsum(rng.normal(0, rng.uniform(0.001, 0.03), STEPS + 1))
        area, _, _ = adaptively(curve, 0.004)
        inside.append(abs(area - np.trapezoid(curve, PLACES)) <= 0.004)
    assert np.mean(inside) >= 0.98


@pytest.fixture
def toy(desk, tiny_cnn):
    return desk(tiny_cnn, (32, 32), 5)


def test_the_area_is_that_of_the_224_steps_within_the_error(toy, photo_batch):
    metrics = [Deletion(steps=STEPS), Insertion(steps=STEPS), Deletion(auc_error=0.002), Insertion(auc_error=0.002)]
    rows = toy.rows(metrics, photo_batch, photo_batch[:, 0])
    for photo in range(len(photo_batch)):
        for fine, quick in ((rows[4 * photo], rows[4 * photo + 2]), (rows[4 * photo + 1], rows[4 * photo + 3])):
            assert abs(quick.value - fine.value) <= 0.002
            assert quick.readouts["area_error"] <= 0.002
            assert quick.readouts["log_odds"] == pytest.approx(fine.readouts["log_odds"], abs=0.1)
            assert quick.readouts["points"] < 100
            assert quick.curve.x == fine.curve.x


def test_an_error_near_nothing_gives_the_curve_of_224_steps_itself(toy, photo_batch):
    fine, quick = toy.rows([Deletion(steps=STEPS), Deletion(auc_error=1e-12)], photo_batch[:1], photo_batch[:1, 0])
    assert quick.curve.y == pytest.approx(fine.curve.y, abs=1e-5)
    assert quick.value == pytest.approx(fine.value, abs=1e-6)
    assert quick.readouts["points"] == STEPS - 1


def test_points_are_the_passes_that_were_made(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    rows = desk(network, (32, 32), 5).rows(
        [Deletion(auc_error=0.001), Insertion(auc_error=0.001, ties="both")], photo_batch[:1], photo_batch[:1, 0]
    )
    assert network.photos == 3 + sum(row.readouts["points"] for row in rows)


def test_batches_and_neighbours_do_not_change_which_points_are_passed(toy, photo_batch):
    together = toy.rows(Deletion(auc_error=0.002), photo_batch, photo_batch[:, 1])
    for at in range(2):
        alone = toy.rows(
            Deletion(auc_error=0.002), photo_batch[at : at + 1], photo_batch[at : at + 1, 1], names=[f"{at}.png"], batch_size=3
        )
        assert alone[0].readouts["points"] == together[at].readouts["points"]
        assert alone[0].value == pytest.approx(together[at].value, abs=1e-5)


def test_steps_of_ones_own_and_the_authors_variant_are_refused():
    for further in ({"steps": 56}, {"variant": "rise"}):
        with pytest.raises(UsageError, match="auc_error chooses points"):
            Deletion(auc_error=0.002, **further)
    with pytest.raises(UsageError, match="auc_error=0"):
        Deletion(auc_error=0)
    assert "auc_error" not in Deletion().parameters_as_given()
    assert torch.is_tensor(Deletion().places(16))
