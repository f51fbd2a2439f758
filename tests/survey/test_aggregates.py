"""Maps summed up one by one, against plain formulas over all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import xaicli
from xaicli.attribution import Attribution
from xaicli.network.channels import CHANNEL_MAPS
from xaicli.survey.aggregates import MapAggregate, center_map, middle_of, regridded


@pytest.fixture(scope="module")
def attribution(tiny_photo: np.ndarray) -> Attribution:
    """Any attribution with a record."""
    [made] = xaicli.explain(tiny_photo, "tiny", "random")
    return made


@pytest.fixture(scope="module")
def tiny_photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def with_values(attribution: Attribution, values: np.ndarray, **extras: np.ndarray) -> Attribution:
    return dataclasses.replace(attribution, values=values.astype(np.float32), extras=extras)


def test_the_control_is_the_method_of_that_name(tiny_photo: np.ndarray) -> None:
    [made] = xaicli.explain(tiny_photo, "tiny", "center")
    side = made.values.shape[0]
    assert np.allclose(center_map(side), made.values, atol=1e-6)


def test_mean_signed_mean_and_spread_are_those_of_all_maps(attribution: Attribution) -> None:
    maps = np.random.default_rng(1).normal(size=(5, 8, 8)).astype(np.float32)
    found = MapAggregate("m", "(all)", 4)
    for values in maps:
        found.add(with_values(attribution, values))
    blocks = maps.astype(np.float64).reshape(5, 4, 2, 4, 2)
    assert np.allclose(found.signed.mean, blocks.mean(axis=(2, 4)).mean(axis=0))
    assert np.allclose(found.absolute.mean, np.abs(blocks).mean(axis=(2, 4)).mean(axis=0))
    assert np.allclose(found.absolute.std, np.abs(blocks).mean(axis=(2, 4)).std(axis=0, ddof=1))


def test_maps_of_zeros_are_counted_and_left_out(attribution: Attribution) -> None:
    found = MapAggregate("m", "(all)", 4)
    for values in (np.zeros((8, 8)), np.full((8, 8), np.nan), np.ones((8, 8))):
        found.add(with_values(attribution, values))
    assert (found.n, found.zero) == (1, 2)
    assert found.record()["zero"] == 2


def test_normalised_maps_count_alike(attribution: Attribution) -> None:
    one, other = np.zeros((4, 4)), np.zeros((4, 4))
    one[0, 0], other[3, 3] = 1, 1000
    found = MapAggregate("m", "(all)", 4, normalize=True)
    for values in (one, other):
        found.add(with_values(attribution, values))
    assert found.absolute.mean[0, 0] == found.absolute.mean[3, 3] == pytest.approx(8)


def test_the_mean_of_central_maps_ranks_as_the_control(attribution: Attribution) -> None:
    found = MapAggregate("m", "(all)", 16)
    found.add(with_values(attribution, center_map(32) * 7))
    assert found.record()["position"] == pytest.approx(1, abs=0.01)
    assert found.record()["near"] > 0.3


def test_maps_are_aligned_to_the_middle_of_the_object(attribution: Attribution) -> None:
    found = MapAggregate("m", "(all)", 8)
    for row, column in ((1, 1), (6, 2), (3, 7)):
        values, mask = np.zeros((8, 8)), np.zeros((64, 64), dtype=np.bool_)
        values[row, column] = 1
        mask[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = True
        found.add(with_values(attribution, values), mask)
    assert found.around.mean[4, 4] == pytest.approx(1)
    record = found.record()
    assert (record["object radius"], record["object near"], record["on object"]) == (0, 1, 1)
    assert record["area"] == pytest.approx(1 / 64, rel=1e-3)


def test_channels_have_their_shares(attribution: Attribution) -> None:
    found = MapAggregate("m", "(all)", 4)
    channels = np.stack([np.full((4, 4), 4.0), np.full((4, 4), -2.0), np.full((4, 4), 1.0)])
    found.add(with_values(attribution, channels.sum(axis=0), **{CHANNEL_MAPS: channels}))
    record = found.record()
    assert record["channels"] == pytest.approx([4 / 7, 2 / 7, 1 / 7], rel=1e-3)
    assert record["decay"] == pytest.approx(-0.6931, rel=1e-3)


def test_a_grid_finer_than_the_map_keeps_its_mean() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert np.allclose(regridded(values, 4), np.kron(values, np.ones((2, 2))))
    assert regridded(values, 3).mean() == pytest.approx(2.5)


def test_the_middle_of_a_region_is_that_of_its_bounding_box() -> None:
    mask = np.zeros((10, 20), dtype=np.bool_)
    mask[0, 19] = mask[3, 15] = True
    assert middle_of(mask, 10) == (2, 8)
    assert middle_of(~mask & mask, 10) is None
