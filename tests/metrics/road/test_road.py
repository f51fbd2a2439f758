"""ROAD: what is removed, how curves become one number, noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from xaicli.metric import Direction
from xaicli.metrics.road.road import ROAD, removed_count


def area(fractions: tuple[float, ...], scores: list[float]) -> float:
    metric = ROAD(order="morf", remove=fractions)
    return metric.areas(torch.tensor(scores, dtype=torch.float64)[None, None]).item()


def test_areas_are_trapezoids_closed_by_one_and_zero():
    fractions = (0.1, 0.3, 0.5, 0.7)
    assert area(fractions, [0.5, 0.25, 0.1, 0.05]) == pytest.approx(0.2075)
    assert area(fractions, [0.9, 0.8, 0.6, 0.4]) == pytest.approx(0.565)


def test_combined_is_half_the_difference_of_the_areas():
    assert ROAD().combine(torch.tensor([[0.2075, 0.565]])).item() == pytest.approx((0.565 - 0.2075) / 2)


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 1), (0.2, 2), (0.5, 5), (0.7, 7), (0.29, 2)])
def test_a_fraction_is_a_whole_number_of_pixels(fraction, count):
    assert removed_count(fraction, 10) == count
    assert removed_count(0.29, 100) == 29


class Looking:
    """A network that keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        self.seen.append(inputs.clone())
        return torch.zeros(len(inputs), 2)

    def copies(self, desk, metric, photo, saliency) -> Tensor:
        """The copies that a metric asks about, without the clean photo."""
        desk(self, tuple(photo.shape[2:])).rows(metric, photo, saliency, batch_size=1)
        return torch.cat(self.seen[1:])


SALIENCY = torch.tensor([0.0] * 6 + [0.1, 0.2, 0.3, 0.4]).view(1, 2, 5)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_a_map_of_many_zeros_removes_exact_counts(desk, order):
    photo = torch.rand(1, 3, 2, 5, generator=torch.Generator().manual_seed(0))
    copies = Looking().copies(desk, ROAD(order=order, remove=(0.1, 0.2, 0.5), noise=1), photo, SALIENCY)
    changed = (copies != photo).any(dim=1).flatten(1)
    assert changed.sum(dim=1).tolist() == [1, 2, 5]
    # The six zeros are the least relevant, the four others the most.
    assert not changed[:2, 6:].any() if order == "lerf" else not changed[:2, :6].any()


def test_filled_pixels_are_interpolated_before_normalisation_and_kept_ones_are_the_photos_bits(desk):
    looking = Looking()
    given = desk(looking, (1, 5), 2, (0.5,) * 3, (0.25,) * 3)
    photo = torch.tensor([0.0, 9, 9, 9, 0.8]).view(1, 1, 1, 5).expand(1, 3, 1, 5).clone()
    given.rows(ROAD(order="morf", remove=(0.6,), noise=0), photo, torch.tensor([[[0.0, 5, 4, 3, 1]]]), batch_size=1)
    copy = looking.seen[-1][0]
    assert_close(copy[0, 0], torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8]), atol=1e-4, rtol=0)
    assert torch.equal(copy[:, 0, [0, 4]], photo[0, :, 0, [0, 4]])


def test_noise_is_seeded_and_of_its_size_in_pixel_units(desk):
    looking = Looking()
    given = desk(looking, (32, 32), 2, (0.5,) * 3, (0.25,) * 3)
    photo = torch.zeros(1, 3, 32, 32)
    saliency = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        given.rows(ROAD(order="morf", remove=(0.5,)), photo, saliency, batch_size=1)
    removed = looking.seen[1][0][looking.seen[1][0] != 0]
    assert removed.std().item() == pytest.approx(0.01 / 0.25, rel=0.1)
    assert torch.equal(looking.seen[1], looking.seen[3])
    given.rows(ROAD(order="morf", remove=(0.5,)), photo, saliency, batch_size=1, seed=1)
    assert not torch.equal(looking.seen[1], looking.seen[5])


def test_scores_do_not_depend_on_the_batch(desk, tiny_cnn, photo_batch):
    given = desk(tiny_cnn, (32, 32), 5)
    classes = tiny_cnn(photo_batch).argmax(dim=1)
    rows = [given.rows(ROAD(), photo_batch, photo_batch[:, 0], classes=classes, batch_size=size) for size in (1, 9)]
    for one, other in zip(*rows, strict=True):
        assert one.value == other.value
        assert one.readouts == pytest.approx(dict(other.readouts), abs=1e-5)


def test_accuracy_is_whether_the_target_comes_first(desk, grey):
    """A network whose class 0 wins while the first pixel is bright: it goes first under morf, last under lerf."""
    given = desk(lambda x: torch.stack([x[:, 0, 0, 0], torch.full((len(x),), 0.5)], 1), (1, 4))
    photo = grey([[[1.0, 0, 0, 0]]])
    row = given.rows(ROAD(remove=(0.25, 0.5), noise=0), photo, torch.tensor([[[4.0, 3, 2, 1]]]))[0]
    assert row.readouts["morf"] == pytest.approx(0.25 / 2)
    assert row.readouts["lerf"] == pytest.approx(0.25 + 0.25 + 0.5 / 2)
    assert row.value == pytest.approx((row.readouts["lerf"] - row.readouts["morf"]) / 2)
    assert row.readouts["accuracy"] == row.value


def test_the_direction_follows_the_order():
    directions = [ROAD(order=order).direction for order in ("combined", "morf", "lerf")]
    assert directions == [Direction.HIGHER, Direction.LOWER, Direction.HIGHER]


def test_fractions_are_kept_sorted_and_once():
    assert ROAD(remove=(0.5, 0.1, 0.5)) == ROAD(remove=(0.1, 0.5))
