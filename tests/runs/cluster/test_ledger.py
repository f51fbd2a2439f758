"""The ledger finds the photo at which workers end."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray")

from xaicli.images.source import Source
from xaicli.runs.cluster import worker
from xaicli.runs.cluster.ledger import TIMES, Begun, Ledger


def test_a_block_that_is_begun_again_blames_the_photo_it_was_at() -> None:
    ledger = Ledger()
    assert ledger.begin("block", "one") == Begun({}, again=False)
    ledger.at("block", "a.png")
    ledger.at("block", "b.png")
    assert ledger.begin("block", "two") == Begun({"b.png": 1}, again=True)
    ledger.at("block", "b.png")
    ledger.done("block")
    assert ledger.begin("block", "three") == Begun({"b.png": 1}, again=False)


def test_a_worker_that_ends_before_its_first_photo_blames_none() -> None:
    ledger = Ledger()
    ledger.begin("block", "one")
    assert ledger.begin("block", "two") == Begun({}, again=True)


def test_a_photo_that_ended_workers_often_enough_is_set_aside() -> None:
    ledger = Ledger()
    for _ in range(TIMES):
        ledger.begin("block", "one")
        ledger.at("block", "a.png")
    ledger.begin("block", "one")
    state = ledger.state()
    assert state.aside == ["a.png"]
    assert state.ended == TIMES


def test_the_state_tells_what_is_at_work() -> None:
    ledger = Ledger()
    ledger.begin("block", "process 7")
    ledger.at("block", "a.png")
    [(photo, worker, seconds)] = ledger.state().at_work
    assert (photo, worker) == ("a.png", "process 7")
    assert seconds >= 0


class Told:
    """A ledger's actor, of which a test sees what it is told."""

    def __init__(self) -> None:
        self.at = self
        self.photos: list[str] = []

    def remote(self, block: str, photo: str) -> str:
        self.photos.append(photo)
        return photo


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_waits_for_the_ledger_only_where_a_block_is_begun_again(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    waited: list[str] = []
    monkeypatch.setattr(worker.ray, "get", waited.append)
    ledger = Told()
    watch = worker.PhotoWatch(ledger, "block", Begun(again=again))
    for name in ("a.png", "b.png"):
        watch(Source.of_file(Path(name)))
    assert ledger.photos == ["a.png", "b.png"]
    assert waited == (ledger.photos if again else [])
