"""Photos ahead of the network: in order, and no more bytes of them than there is room for."""

from __future__ import annotations

import itertools
import traceback

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError, forget_frames
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs import photo_maps
from xaicli.runs.photo_room import PhotoRoom
from xaicli.runs.photos import Failure, LoadedPhoto, load_ahead
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
def test_photos_come_in_order_whatever_room_there_is(sources, room, ahead):
    items = list(load_ahead(sources, VIEW, ahead=ahead, room=PhotoRoom(room)))
    assert [item.source for item in items] == sources
    assert [number for number, item in enumerate(items) if isinstance(item, Failure)] == [3]


def test_a_run_that_ends_early_does_not_wait_for_room(sources):
    items = load_ahead(sources, VIEW, ahead=100, room=PhotoRoom(1))
    assert isinstance(next(items), LoadedPhoto)
    items.close()


@pytest.mark.parametrize(("room", "sizes"), [(1, [1] * 9), (4 * 2 * 4800, [2, 1, 2, 2, 2]), (1 << 30, [3, 4, 2])])
def test_a_batch_is_full_when_its_photos_fill_their_room(sources, classifier_of, tiny_cnn, monkeypatch, room, sizes):
    seen = []
    monkeypatch.setattr(photo_maps, "explain_batch", lambda batch, *rest: seen.append(len(batch)) or itertools.repeat(None, 0))
    settings = Settings(batch_size=4)
    list(photo_maps.explain_photos(sources, classifier_of(tiny_cnn), [], TargetChoice(), settings, room=PhotoRoom(room)))
    assert seen == sizes


def test_an_error_that_is_kept_holds_nothing_of_its_photo(tmp_path):
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    [failure] = load_ahead([Source.of(path)], VIEW)
    held, cause = [], failure.error
    while cause is not None:
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
        held += [value for frame in frames for value in frame.f_locals.values() if isinstance(value, bytes | Image.Image)]
        cause = cause.__cause__ or cause.__context__
    assert isinstance(failure, Failure)
    assert "truncated PNG" in failure.error.found
    assert not held


def test_errors_that_are_each_others_cause_and_context_are_let_go_of_too():
    kept, wrapped = InputError("a photo"), InputError("a run")
    wrapped.__cause__, kept.__context__ = kept, wrapped
    forget_frames(kept)
