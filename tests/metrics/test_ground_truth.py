"""Pointing games, relevance rank and intersection over union on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaicli.metric import Sign
from xaicli.metrics.gaze import ScanpathSaliency
from xaicli.metrics.pointing_game import EnergyPointingGame, PointingGame, PositiveShare
from xaicli.metrics.relevance_rank import IoU, RelevanceRank

ALL = [PointingGame(tolerance=0), EnergyPointingGame(), PositiveShare(), RelevanceRank(), IoU()]


@pytest.fixture
def given(desk):
    def network(inputs):
        raise AssertionError("a metric that declares no need of the model called it")

    return desk(network, (4, 4))


@pytest.fixture
def score(given, drawn):
    def value(metric, values, mask, **further):
        truth = [drawn({0: np.array(mask, dtype=bool)})]
        further.setdefault("sign", Sign.NONNEGATIVE)
        return given.rows(metric, torch.zeros(1, 3, 4, 4), torch.tensor([values]), truth=truth, **further)[0]

    return value


CORNER = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def peak(*places: tuple[int, int]) -> list[list[float]]:
    return [[float((y, x) in places) for x in range(4)] for y in range(4)]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_mask_itself_is_the_perfect_map(score, metric):
    assert score(metric, [[float(cell) for cell in row] for row in CORNER], CORNER).value == 1


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_map_beside_the_target_scores_zero(score, metric):
    assert score(metric, peak((2, 2), (2, 3), (3, 2), (3, 3)), CORNER).value == 0


@pytest.mark.parametrize(("tolerance", "expected"), [(0, 0), (1, 0), (2, 1)])
def test_a_near_miss_counts_within_the_tolerance(score, tolerance, expected):
    assert score(PointingGame(tolerance=tolerance), peak((1, 3)), CORNER).value == expected


def test_the_tolerance_is_a_disc(score):
    """(2, 2) is the diagonal neighbour of (1, 1), 1.41 pixels away."""
    assert score(PointingGame(tolerance=1), peak((2, 2)), CORNER).value == 0


def test_several_largest_pixels_give_the_expected_hit_rate(score):
    assert score(PointingGame(tolerance=0), peak((0, 0), (3, 3), (3, 2), (2, 3)), CORNER).value == 0.25


def test_the_pointing_game_takes_maps_that_are_negative_everywhere(score):
    values = [[value - 3 for value in row] for row in peak((0, 1))]
    assert score(PointingGame(tolerance=0), values, CORNER, sign=Sign.SIGNED).value == 1


def test_energy_is_the_share_of_mass(score):
    row = score(EnergyPointingGame(), [[3.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], CORNER)
    assert row.value == 0.75
    assert row.readouts["area"] == 0.25


def test_negative_values_take_no_part_in_the_share_of_positive_ones(score):
    values = [[3.0, -9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, -5, 1]]
    row = score(PositiveShare(), values, CORNER, sign=Sign.SIGNED)
    assert (row.value, row.readouts["area"]) == (0.75, 0.25)


def test_a_map_without_positive_values_has_no_share_of_them(score):
    row = score(PositiveShare(), [[-3.0, -9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], CORNER, sign=Sign.SIGNED)
    assert (row.value, row.status) == (None, "undefined")


def test_relevance_rank_counts_the_targets_share_of_the_top_k(score):
    values = [[9.0, 8, 0, 0], [0.5, 0.4, 7, 6], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert score(RelevanceRank(), values, CORNER).value == 0.5


def test_ties_at_the_kth_place_count_as_a_random_choice_would(score):
    """Two pixels of the target lead, the other fourteen are equal, two of them on the target: 2 + 2 x 2 / 14 of 4."""
    assert score(RelevanceRank(), peak((0, 0), (0, 1)), CORNER).value == pytest.approx((2 + 2 * 2 / 14) / 4)


@pytest.mark.parametrize(("threshold", "expected"), [(0.2, 4 / 5), (0.5, 2 / 4), (1.0, 1 / 4)])
def test_intersection_over_union_at_a_threshold(score, threshold, expected):
    values = [[1.0, 0.7, 0.3, 0], [0.4, 0.3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert score(IoU(threshold=threshold), values, CORNER).value == pytest.approx(expected)


def test_precision_and_recall_stand_beside_it(score):
    row = score(IoU(), peak((0, 0), (3, 3)), CORNER)
    assert row.readouts == {"precision": 0.5, "recall": 0.25}


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_an_empty_or_missing_mask_is_a_status_and_no_score(given, drawn, metric):
    nothing = np.zeros((4, 4), dtype=bool)
    truth = [drawn({0: nothing}), drawn({1: ~nothing}), None, drawn({0: ~nothing})]
    maps = torch.tensor([peak((1, 1))]).expand(4, 4, 4)
    rows = given.rows(metric, torch.zeros(4, 3, 4, 4), maps, truth=truth, sign=Sign.NONNEGATIVE)
    assert [row.status for row in rows] == ["empty-truth", "no-truth", "no-truth", "ok"]
    assert [row.value is None for row in rows] == [True, True, True, False]


def test_the_region_metrics_of_the_specification_of_segmentation(desk, drawn):
    """XEdgeAI, self-check 5: of [[0.5, 0.5], [0, 1]] half of the energy lies on [[1, 1], [0, 0]]; at half of the largest value
    intersection over union is 2/3."""

    def network(inputs):
        raise AssertionError("a metric that declares no need of the model called it")

    truth = [drawn({0: np.array([[True, True], [False, False]])})]
    values = torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])
    for metric, expected in ((EnergyPointingGame(), 0.5), (IoU(), 2 / 3)):
        [row] = desk(network, (2, 2)).rows(metric, torch.zeros(1, 3, 2, 2), values, truth=truth, sign=Sign.NONNEGATIVE)
        assert row.value == pytest.approx(expected)


def test_scanpath_saliency_is_in_standard_deviations_of_all_pixels(desk, drawn):
    """FovEx, self-check 10: [[0, 0], [0, 1]] with a fixation on the 1; by the deviation of a sample it would be 1.5."""
    table = desk(lambda inputs: inputs, (2, 2))
    truth = [drawn({0: np.array([[0, 0], [0, 1]], dtype=bool)})]
    [row] = table.rows(
        ScanpathSaliency(), torch.zeros(1, 3, 2, 2), torch.tensor([[[0.0, 0], [0, 1]]]), truth=truth, sign=Sign.NONNEGATIVE
    )
    assert row.value == pytest.approx(1.7320508)
    assert row.readouts == {"area": 0.25}


def test_scanpath_saliency_forgets_scale_and_offset_and_is_0_over_the_whole_map(score):
    values = [[3.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 5]]
    other = [[7 * value + 3 for value in row] for row in values]
    one, same = (score(ScanpathSaliency(), given, CORNER).value for given in (values, other))
    assert one == pytest.approx(same)
    assert score(ScanpathSaliency(), values, [[1] * 4] * 4).value == pytest.approx(0, abs=1e-12)
