"""The ledger finds the photo at which workers end."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")

from xaicli.runs.cluster.ledger import TIMES, Ledger


def test_a_block_that_is_begun_again_blames_the_photo_it_was_at() -> None:
    ledger = Ledger()
    assert ledger.begin("block", "one") == {}
    ledger.at("block", "a.png")
    ledger.at("block", "b.png")
    assert ledger.begin("block", "two") == {"b.png": 1}
    ledger.at("block", "b.png")
    ledger.done("block")
    assert ledger.begin("block", "three") == {"b.png": 1}


def test_a_worker_that_ends_before_its_first_photo_blames_none() -> None:
    ledger = Ledger()
    ledger.begin("block", "one")
    assert ledger.begin("block", "two") == {}


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
