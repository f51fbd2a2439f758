"""The specification's self-checks of shifts, shares and their aggregation."""

from __future__ import annotations

import pytest
import torch

from xaicli.methods.winit.shifts import aggregate, distance, importances


@pytest.mark.parametrize(("measure", "expected"), [("pd", 0.6), ("kl", 0.1927448), ("js", 0.0506718)])
def test_distances_of_two_distributions(measure: str, expected: float) -> None:
    before, after = torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5])
    assert float(distance(measure, before, after)) == pytest.approx(expected, abs=1e-6)  # type: ignore[arg-type]


def test_a_divergence_from_nothing_is_bounded() -> None:
    before, after = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert 10 < float(distance("kl", before, after)) <= 1e6
    assert float(distance("js", before, after)) == pytest.approx(torch.tensor(2.0).log().item())


def test_the_distance_of_yes_and_no_is_twice_that_of_the_probabilities() -> None:
    before, after = torch.tensor([0.9, 0.1]), torch.tensor([0.65, 0.35])
    assert float(distance("pd", before, after)) == pytest.approx(2 * 0.25)


def test_a_mean_of_the_last_three_values_shares_its_fall() -> None:
    series = torch.tensor([0.2, 0.4, 0.6, 0.8])
    probability = series[1:].mean()
    hidden = [torch.cat([series[: 4 - n], torch.zeros(n)])[1:].mean() for n in (1, 2, 3)]
    shifts = torch.stack([2 * (probability - one).abs() for one in hidden])
    torch.testing.assert_close(shifts, torch.tensor([0.5333333, 0.9333333, 1.2]))
    torch.testing.assert_close(importances(shifts), torch.tensor([0.5333333, 0.4, 0.2666667]))
    assert float(importances(shifts).sum()) == pytest.approx(1.2)


def test_of_two_cues_that_say_the_same_the_earlier_gets_everything() -> None:
    torch.testing.assert_close(importances(torch.tensor([0.0, 2.0, 2.0])), torch.tensor([0.0, 2.0, 0.0]))


WINDOWS = torch.tensor([[0, 0, 0], [0, 0.2, 0.1], [0.3, 0.2, 0.4], [0.5, 0.1, 0.6]])


def test_a_moment_gets_the_mean_over_the_times_whose_window_holds_it() -> None:
    torch.testing.assert_close(aggregate(WINDOWS, "mean"), torch.tensor([0.1666667, 0.2666667, 0.25, 0.6]))


def test_a_moment_gets_the_largest_or_the_largest_magnitude() -> None:
    signed = WINDOWS.clone()
    signed[2, 0] = -0.9
    torch.testing.assert_close(aggregate(WINDOWS, "max"), torch.tensor([0.3, 0.5, 0.4, 0.6]))
    torch.testing.assert_close(aggregate(signed, "abs-max"), torch.tensor([-0.9, 0.5, 0.4, 0.6]))
    torch.testing.assert_close(aggregate(signed, "max")[0], torch.tensor(0.2))
