"""Gini index and entropy, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from xaicli.metric import Sign
from xaicli.metrics.sparseness import Entropy, Sparseness


@pytest.fixture
def given(desk):
    """A desk whose model must not be called: these metrics read the map alone."""

    def network(inputs):
        raise AssertionError("a metric that declares no need of the model called it")

    return desk(network, (8, 8))


def score(given, metric, values):
    return given.rows(metric, torch.zeros(1, 3, 8, 8), torch.tensor([values]))[0]


def gini(values):
    """Half the mean absolute difference of all pairs, over the mean."""
    flat = [abs(value) for row in values for value in row]
    differences = [abs(one - other) for one in flat for other in flat]
    return sum(differences) / (2 * len(flat) * sum(flat))


@pytest.mark.parametrize("values", [[[1.0, 2], [3, 4]], [[0.0, 0], [0, 7]], [[-1.0, 1], [1, 1.5]], [[0.3, -2, 5]]])
def test_sparseness_is_the_gini_index_of_absolute_values(given, values):
    assert score(given, Sparseness(), values).value == pytest.approx(gini(values))


def test_one_place_alone_is_as_sparse_as_its_map_allows(given):
    assert score(given, Sparseness(), [[0.0, 0], [0, 7]]).value == pytest.approx(1 - 1 / 4)


def test_entropy_of_equal_shares_is_the_logarithm_of_their_number(given):
    row = score(given, Entropy(), [[-2.0, 2], [0, 0]])
    assert row.value == pytest.approx(math.log(2))
    assert row.readouts["relative"] == pytest.approx(0.5)


def test_both_are_taken_at_the_maps_own_resolution(given):
    """Upsampled to 8 x 8 a single cell of four would spread, and its entropy would not be 0."""
    assert score(given, Entropy(), [[0.0, 0], [0, 7]]).value == 0


def test_scale_does_not_matter(given):
    values = [[0.5, 2], [3, 4]]
    for metric in (Sparseness(), Entropy()):
        scaled = [[1e4 * value for value in row] for row in values]
        assert score(given, metric, values).value == pytest.approx(score(given, metric, scaled).value)


def test_the_callers_map_is_left_alone(given):
    values = torch.tensor([[[-1.0, 2], [3, 4]]])
    before = values.clone()
    given.rows([Sparseness(), Entropy()], torch.zeros(1, 3, 8, 8), values, sign=Sign.SIGNED)
    assert torch.equal(values, before)
