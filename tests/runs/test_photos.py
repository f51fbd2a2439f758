"""Photos ahead of the network: in order, and no more bytes of them than there is room for."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from PIL import Image

from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs import photo_maps, photos
from xaicli.runs.photos import DECODE_THREADS, Failure, LoadedPhoto, load_ahead
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice

VIEW = View(resize=(8, 8), crop=None)


@pytest.fixture
def sources(tmp_path):
    """Ten photos of 40 x 30 pixels, the fourth damaged."""
    rng = np.random.default_rng(1)
    for number in range(10):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no photo")
    return [Source.of(tmp_path / f"{number}.png") for number in range(10)]


@pytest.mark.parametrize("room", [1, 2 * 4800, 1 << 30])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_photos_come_in_order_whatever_room_there_is(sources, monkeypatch, room, ahead):
    monkeypatch.setattr(photos, "ROOM", room)
    items = list(load_ahead(sources, VIEW, ahead=ahead))
    assert [item.source for item in items] == sources
    assert [number for number, item in enumerate(items) if isinstance(item, Failure)] == [3]


@pytest.mark.parametrize(("room", "most"), [(1, 1 + DECODE_THREADS), (3 * 4800, 3 + DECODE_THREADS), (1 << 30, 10)])
def test_no_photo_is_decoded_while_those_that_wait_fill_their_room(sources, monkeypatch, room, most):
    monkeypatch.setattr(photos, "ROOM", room)
    load, lock, counts, largest = photos.load, threading.Lock(), {"begun": 0, "taken": 0}, [0]

    def counting(*given):
        with lock:
            counts["begun"] += 1
            largest.append(counts["begun"] - counts["taken"])
        return load(*given)

    monkeypatch.setattr(photos, "load", counting)
    for _ in load_ahead(sources, VIEW, ahead=100):
        with lock:
            counts["taken"] += 1
    # One more may begin before the loop has counted the one it took.
    assert max(largest) <= most + 1


def test_a_run_that_ends_early_does_not_wait_for_room(sources, monkeypatch):
    monkeypatch.setattr(photos, "ROOM", 1)
    items = load_ahead(sources, VIEW, ahead=100)
    assert isinstance(next(items), LoadedPhoto)
    items.close()


@pytest.mark.parametrize(("room", "sizes"), [(1, [1] * 9), (2 * 4800, [2, 1, 2, 2, 2]), (1 << 30, [3, 4, 2])])
def test_a_batch_is_full_when_its_photos_fill_their_room(sources, classifier_of, tiny_cnn, monkeypatch, room, sizes):
    monkeypatch.setattr(photo_maps, "ROOM", room)
    seen = []
    monkeypatch.setattr(photo_maps, "explain_batch", lambda batch, *rest: seen.append(len(batch)) or itertools.repeat(None, 0))
    settings = Settings(batch_size=4)
    list(photo_maps.explain_photos(sources, classifier_of(tiny_cnn), [], TargetChoice(), settings))
    assert seen == sizes
