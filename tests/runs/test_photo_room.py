"""Bytes of decoded photos: what they take at a time never passes the limit, except for one photo that is larger by itself."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs import folder, photo_room, photos
from xaicli.runs.photo_room import PhotoRoom
from xaicli.runs.photos import BYTES_A_PIXEL, LoadedPhoto, load_ahead

VIEW = View(resize=(8, 8), crop=None)
SIDE = 64
PIXELS = 4 * SIDE * SIDE


@pytest.fixture
def sources(tmp_path):
    """Eight photos of one size; each takes its pixels and its file's bytes while it is decoded."""
    rng = np.random.default_rng(1)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(tmp_path / f"{number}.bmp")
    return [Source.of(tmp_path / f"{number}.bmp") for number in range(8)]


class Holder:
    """Something that holds a photo."""


def test_what_a_holder_takes_is_free_when_it_is_gone():
    room, holder = PhotoRoom(limit=100), Holder()
    room.enter(0, 90)
    room.keep(holder, 90, 60)
    assert room.held == 60
    del holder
    gc.collect()
    assert (room.held, room.most) == (0, 90)


def test_a_photo_that_is_too_large_waits_until_it_is_asked_for_and_nobody_draws():
    room, first = PhotoRoom(limit=100), Holder()
    room.enter(0, 80)
    room.keep(first, 80, 80)
    room.draw(first)
    entered = threading.Event()
    thread = threading.Thread(target=lambda: (room.enter(1, 300), entered.set()))
    thread.start()
    room.ask(1)
    assert not entered.wait(0.05)
    del first
    assert entered.wait(10)
    thread.join()
    assert room.most == 300


def test_a_later_photo_does_not_take_the_room_of_one_that_waits():
    room = PhotoRoom(limit=100)
    room.enter(0, 60)
    order = []
    threads = [
        threading.Thread(target=lambda number=number, size=size: (room.enter(number, size), order.append(number)))
        for number, size in ((1, 70), (2, 30))
    ]
    for thread in threads[::-1]:
        thread.start()
        thread.join(0.05)
    room.take(-60)
    for thread in threads:
        thread.join(10)
    assert order == [1, 2]


@pytest.mark.parametrize("fit", [1, 2, 3])
def test_photos_that_wait_take_no_more_than_their_room(sources, fit):
    largest = PIXELS + sources[0].file.stat().st_size
    room = PhotoRoom(limit=fit * largest)
    for item in load_ahead(sources, VIEW, ahead=100, room=room):
        assert isinstance(item, LoadedPhoto)
        del item
    assert largest <= room.most <= room.limit


def test_a_folder_of_photos_takes_no_more_than_its_room(sources, monkeypatch, tmp_path):
    """The photos of a whole run: ahead, in the batch, being drawn."""
    largest = PIXELS + sources[0].file.stat().st_size
    rooms = []
    monkeypatch.setattr(photo_room, "ROOM", 2 * largest)
    monkeypatch.setattr(folder, "PhotoRoom", lambda **given: rooms.append(PhotoRoom(**given)) or rooms[-1])
    xaicli.explain(str(tmp_path), "tiny", "grad-cam", output=tmp_path / "out")
    gc.collect()
    [room] = rooms
    assert largest <= room.most <= room.limit
    assert room.held == 0


def test_a_photo_that_is_rgb_already_is_decoded_without_a_copy(sources, monkeypatch):
    monkeypatch.setattr(Image.Image, "copy", lambda image: pytest.fail("a copy of the whole photo"))
    assert photos.load(sources[0], VIEW, (255, 255, 255)).photo.image.mode == "RGB"


def test_photos_that_are_not_drawn_are_kept_as_inputs_alone(sources):
    largest = PIXELS + sources[0].file.stat().st_size
    room = PhotoRoom(limit=largest + 16)
    items = list(load_ahead(sources, VIEW, ahead=100, room=room, picture=False))
    assert {item.photo.size for item in items} == {(SIDE, SIDE)}
    assert room.held == len(items) * BYTES_A_PIXEL
    assert room.most <= largest + len(items) * BYTES_A_PIXEL


def test_photos_that_pass_in_any_order_take_no_more_than_their_room():
    room = PhotoRoom(limit=100)

    def use(size):
        with room.passing() as admit:
            admit(size)

    threads = [threading.Thread(target=use, args=(size,)) for size in (60, 60, 30, 250, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (room.held, room.most) == (0, 250)
