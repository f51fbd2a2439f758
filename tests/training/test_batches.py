"""Batches: what is drawn depends on seed, epoch and photo alone; crops, mirrors, colours and mixes do what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from xaicli.images.view import View
from xaicli.task import Augmentation
from xaicli.training.batches import Batches, crops, held_out, mixed, recoloured, reflected
from xaicli.training.decoded import InMemory

VIEW = View(4, 4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
PLAIN = Augmentation(margin=1.0, flip=False)


@pytest.fixture
def batches():
    pixels = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)
    augmentation = Augmentation(margin=1.5, padding=1, colour=0.2)
    return Batches(InMemory(pixels), np.arange(10), 10, VIEW, augmentation, 3, 5, torch.device("cpu"), count=10)


def test_an_epoch_shows_every_photo_at_most_once_and_drops_the_last_few(batches):
    labels = torch.cat([batch.labels for batch in batches.epoch(0)])
    assert batches.steps == 3
    assert len(labels.unique()) == 9


def test_epochs_differ_and_each_is_always_the_same(batches):
    first = [batch.inputs for batch in batches.epoch(0)]
    assert all(torch.equal(one, two.inputs) for one, two in zip(first, batches.epoch(0), strict=True))
    assert not torch.equal(first[0], next(iter(batches.epoch(1))).inputs)
    other = dataclasses.replace(batches, seed=6)
    assert not torch.equal(first[0], next(iter(other.epoch(0))).inputs)


def test_an_epoch_that_starts_late_goes_on_as_it_would_have(batches):
    whole = list(batches.epoch(2))
    rest = list(batches.epoch(2, start=2))
    assert len(rest) == 1
    assert torch.equal(rest[0].inputs, whole[2].inputs)
    assert torch.equal(rest[0].labels, whole[2].labels)


def test_how_a_photo_is_varied_depends_not_on_its_batch(batches):
    one = {int(label): photo for batch in batches.epoch(0) for label, photo in zip(batch.labels, batch.inputs, strict=True)}
    larger = dataclasses.replace(batches, batch_size=5)
    for batch in larger.epoch(0):
        for label, photo in zip(batch.labels, batch.inputs, strict=True):
            if int(label) in one:
                torch.testing.assert_close(photo, one[int(label)])


def test_fewer_photos_than_a_batch_make_one_batch(batches):
    few = dataclasses.replace(batches, batch_size=64)
    assert [len(batch.inputs) for batch in few.epoch(0)] == [10]


def test_a_crop_is_cut_where_the_numbers_say_and_mirrored():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    draws = np.array([[0.0, 0.99, 0.9, 0, 0], [0.99, 0.0, 0.1, 0, 0]])
    cut = crops(pixels, (2, 3), Augmentation(flip=True), draws)
    np.testing.assert_array_equal(cut[0], pixels[0, 0:2, 1:4])
    np.testing.assert_array_equal(cut[1], pixels[1, 2:4, 2::-1])


def test_padding_mirrors_the_photo_at_its_edge():
    assert reflected(4, 2).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert reflected(2, 3).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert reflected(1, 2).tolist() == [0, 0, 0, 0, 0]


def test_no_change_of_colour_is_the_identity_and_a_change_is_bounded():
    colours = 0.4 + 0.2 * torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    draws = np.array([[0.5, 0.5], [1.0, 0.5], [0.5, 1.0]])
    assert recoloured(colours, 0.0, draws) is colours
    changed = recoloured(colours, 0.2, draws)
    torch.testing.assert_close(changed[0], colours[0])
    torch.testing.assert_close(changed[1], colours[1] * 1.2)
    torch.testing.assert_close(changed[2], (colours[2] - colours[2].mean()) * 1.2 + colours[2].mean())
    assert recoloured(colours, 0.99, np.ones((3, 2))).max() == 1


def test_mixing_keeps_shares_of_photos_and_labels(batches):
    mixing = dataclasses.replace(batches, augmentation=Augmentation(margin=1.5, mixup=0.4))
    batch = next(iter(mixing.epoch(0)))
    assert batch.labels.shape == (3, 10)
    torch.testing.assert_close(batch.labels.sum(dim=1), torch.ones(3))
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(mixed(values, 0.75), torch.tensor([[0.75, 0.25], [0.25, 0.75]]))


def test_early_epochs_have_smaller_crops(batches):
    growing = dataclasses.replace(batches, augmentation=Augmentation(margin=1.5, early=0.5, early_side=0.5), epochs=4)
    assert [next(iter(growing.epoch(epoch))).inputs.shape[2:] for epoch in range(4)] == [(2, 2), (2, 2), (4, 4), (4, 4)]


def test_held_out_photos_come_unchanged_and_mixed_each_once_the_same_way_every_time():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    first, second = (list(held_out(InMemory(pixels), np.arange(40), 40, VIEW, 16, torch.device("cpu"))) for _ in range(2))
    order = torch.cat([part.labels for part in first])
    assert order.tolist() == torch.cat([part.labels for part in second]).tolist()
    assert sorted(order.tolist()) == list(range(40))
    assert all(part.labels.max() > 20 > part.labels.min() for part in first)
    inputs = torch.cat([part.inputs for part in first])
    torch.testing.assert_close(inputs, torch.from_numpy(pixels[order]).permute(0, 3, 1, 2) / 255)
