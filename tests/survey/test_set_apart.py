"""Photos set apart by one place of the border."""

from __future__ import annotations

import numpy as np
import pytest

from xaicli.survey.clusters import grouped
from xaicli.survey.map_grids import Floats
from xaicli.survey.set_apart import set_apart


def with_mark(count: int, share: float, seed: int) -> Floats:
    """Maps (count, 256) of objects at many places, of which each has that share in the lower left corner."""
    random = np.random.default_rng(seed)
    places = np.arange(16.0)
    made = np.zeros((count, 16, 16))
    for one in made:
        down, across = random.normal((7, 8), 2)
        one[:] = np.exp(-((places[:, None] - down) ** 2 + (places - across) ** 2) / 8)
        one *= (1 - share) / one.sum()
        one[13:15, 1:3] += share / 4 * random.uniform(0.9, 1.1, (2, 2))
    return (made / made.sum(axis=(1, 2), keepdims=True)).reshape(count, -1)


@pytest.mark.parametrize("marked", [4, 12, 30])
def test_a_mark_that_takes_a_fifth_of_some_maps_sets_them_apart(marked: int) -> None:
    maps = np.concatenate([with_mark(marked, 0.2, 0), with_mark(24, 0, 1)])
    chosen = set_apart(maps)
    assert chosen is not None
    assert chosen.tolist() == [True] * marked + [False] * 24
    found = grouped(maps)
    assert len(set(found.labels[:marked].tolist())) == 1
    assert not set(found.labels[:marked].tolist()) & set(found.labels[marked:].tolist())


def test_three_photos_or_a_twentieth_of_the_class_are_no_group() -> None:
    assert set_apart(np.concatenate([with_mark(3, 0.2, 0), with_mark(20, 0, 1)])) is None
    assert set_apart(np.concatenate([with_mark(5, 0.2, 0), with_mark(95, 0, 1)])) is None


@pytest.mark.parametrize("seed", range(5))
def test_objects_at_many_places_are_not_set_apart(seed: int) -> None:
    assert set_apart(with_mark(40, 0, seed)) is None
    assert set_apart(with_mark(40, 0.2, seed)) is None
