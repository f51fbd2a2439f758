"""Groups of alike maps, on maps whose groups are known."""

from __future__ import annotations

import numpy as np
import pytest

from xaicli.survey.class_groups import clusters_of
from xaicli.survey.clusters import FEWEST, grouped
from xaicli.survey.finding import PhotoFinding
from xaicli.survey.map_grids import Floats


def blobs(count: int, row: float, column: float, spread: float, seed: int) -> Floats:
    """Maps (count, 16, 16) with a Gaussian near (row, column)."""
    random = np.random.default_rng(seed)
    places = np.arange(16.0)
    made = []
    for _ in range(count):
        down, across = random.normal((row, column), spread)
        one = np.exp(-((places[:, None] - down) ** 2 + (places - across) ** 2) / 8) + 0.002
        made.append(one / one.sum())
    return np.stack(made)


def finding(grid: Floats | None, target: str = "crane") -> PhotoFinding:
    return PhotoFinding(image="a", photo="h", frame=0, decision=target, p=1.0, target=target, status="ok", grid=grid)


def test_two_kinds_of_maps_are_two_stable_groups_the_larger_first() -> None:
    maps = np.concatenate([blobs(12, 13, 2, 0.5, 0), blobs(20, 7, 8, 0.8, 1)]).reshape(32, -1)
    found = grouped(maps)
    assert found.count == 2
    assert found.labels.tolist() == [1] * 12 + [0] * 20
    assert found.stability == pytest.approx(1)


def test_maps_of_one_kind_are_one_group() -> None:
    assert grouped(blobs(30, 7, 8, 1, 2).reshape(30, -1)).count == 1


def test_equal_maps_are_one_group() -> None:
    assert grouped(np.repeat(blobs(1, 7, 8, 1, 2).reshape(1, -1), 20, axis=0)).labels.tolist() == [0] * 20


def test_a_class_of_few_maps_is_one_group() -> None:
    found = grouped(np.concatenate([blobs(2, 13, 2, 0.1, 0), blobs(FEWEST - 3, 2, 13, 0.1, 1)]).reshape(FEWEST - 1, -1))
    assert found.count == 1
    assert found.stability is None


def test_more_maps_than_are_compared_all_get_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xaicli.survey.clusters.LARGEST", 24)
    maps = np.concatenate([blobs(20, 13, 2, 0.5, 0), blobs(40, 7, 8, 0.8, 1)]).reshape(60, -1)
    assert grouped(maps).labels.tolist() == [1] * 20 + [0] * 40


def test_the_group_in_a_corner_comes_first_with_its_place_and_interval() -> None:
    corner, middle = blobs(10, 14, 1, 0.3, 0), blobs(25, 7, 8, 1, 1)
    first, *rest = clusters_of([finding(grid) for grid in (*middle, *corner)] + [finding(one, "tabby") for one in middle])
    assert first.number == 1
    assert first.target == "crane"
    assert sorted(first.members) == list(range(25, 35))
    assert first.where == "lower left corner"
    assert first.low is not None
    assert first.low <= first.share <= (first.high or 0)
    assert first.is_striking
    assert first.mean.sum() == pytest.approx(1)
    assert not any(one.is_striking for one in rest)


def test_a_single_photo_in_a_corner_does_not_come_first() -> None:
    clusters = clusters_of([finding(blobs(1, 15, 0, 0, 0)[0], "lone"), *(finding(one) for one in blobs(8, 7, 8, 1, 1))])
    assert [one.target for one in clusters] == ["crane", "lone"]
    assert clusters[1].low is None


def test_photos_without_a_map_are_in_no_cluster() -> None:
    [cluster] = clusters_of([finding(None), *(finding(one) for one in blobs(8, 7, 8, 1, 1))])
    assert 0 not in cluster.members
    assert clusters_of([finding(None)] * 3) == []
