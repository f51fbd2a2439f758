"""Decoded photos: the same from memory and from disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.view import View
from xaicli.training import decoded
from xaicli.training.batches import held_out
from xaicli.training.data import read_listing
from xaicli.training.decoded import FromDisk, InMemory, free_memory, open_photos, stored_view

VIEW = View(8, 8)


def test_photos_are_the_same_from_memory_and_from_disk(toy):
    listing = read_listing(str(toy / "train"))
    _, kept = open_photos(listing, VIEW)
    _, read = open_photos(listing, VIEW, budget=0)
    assert isinstance(kept, InMemory)
    assert isinstance(read, FromDisk)
    rows = np.array([5, 0, 23])
    assert kept.size == read.size == (8, 8)
    np.testing.assert_array_equal(kept.take(rows), read.take(rows))


def test_a_stored_photo_is_what_the_view_shows(toy):
    listing = read_listing(str(toy / "val"))
    _, photos = open_photos(listing, VIEW)
    with Image.open(listing.sources[1].file) as picture:
        wanted = VIEW.prepare(picture.convert("RGB"))
    stored = photos.take(np.array([1]))[0].transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(VIEW.unnormalise(wanted).numpy(), stored, atol=1e-6)


@pytest.mark.parametrize(("channels", "order"), [(1, "rgb"), (3, "bgr"), (5, "rgb")])
def test_a_batch_is_the_network_s_input_whatever_its_channels(tmp_path, channels, order):
    shape = (8, 8, 3) if channels == 3 else (channels, 8, 8)
    pixels = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    pixels = (pixels >> 8).astype(np.uint8) if channels == 3 else pixels
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", pixels)
    view = View(8, 8, mean=(0.2,) * channels, std=(0.5,) * channels, order=order)
    listing = read_listing(str(tmp_path))
    _, photos = open_photos(listing, view)
    (batch,) = held_out(photos, listing.labels, 2, view, 2, torch.device("cpu"))
    wanted = input_of(decode(listing.sources[0], reading=reading_of(view)), view)
    np.testing.assert_allclose(batch.inputs[0].numpy(), wanted.numpy(), atol=1e-6)


def test_a_margin_leaves_room_around_the_crop():
    assert stored_view(View(256, 224), 256 / 224).size == (256, 256)
    assert stored_view(View(232, 224), 256 / 224).resize == 256
    assert stored_view(View((20, 30), None), 2.0) == View((40, 60), (40, 60))
    assert stored_view(View(8, 8), 1.0) == View(8, 8)


def test_a_broken_photo_is_named_or_left_out(tmp_path, toy):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes((toy / "val" / "red" / "0.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    listing = read_listing(str(tmp_path))
    with pytest.raises(InputError, match=r"b\.png"):
        open_photos(listing, VIEW)
    for budget in (None, 0):
        told: list[Exception] = []
        left, photos = open_photos(listing, VIEW, on_error=told.append, budget=budget)
        assert left.names == ("a.png", "c.png")
        assert len(told) == 1
        assert photos.take(np.array([0, 1])).shape == (2, 8, 8, 3)


def test_a_set_of_which_nothing_can_be_decoded_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not one photo"):
        open_photos(read_listing(str(tmp_path)), VIEW, on_error=lambda error: None)


def test_progress_is_told(toy):
    told: list[tuple[int, int]] = []
    open_photos(read_listing(str(toy / "val")), VIEW, report=lambda done, total: told.append((done, total)))
    assert told == [(6, 6)]


def test_a_container_leaves_less_than_the_machine_has(tmp_path, monkeypatch):
    (tmp_path / "info").write_text("MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    (tmp_path / "max").write_text("300000\n")
    (tmp_path / "now").write_text("100000\n")
    for name, file in {"MEMORY_INFO": "info", "MEMORY_MAX": "max", "MEMORY_NOW": "now"}.items():
        monkeypatch.setattr(decoded, name, tmp_path / file)
    assert free_memory() == 200_000
    (tmp_path / "max").write_text("max\n")
    assert free_memory() == 1000 * 1024
