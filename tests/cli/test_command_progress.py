"""How a command shows a long run: a line a minute where stderr is no terminal."""

from __future__ import annotations

import click
import pytest

from xaicli.cli import command_progress
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.verbosity import Verbosity


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(command_progress, "time", made)
    return made


def lines(capsys: pytest.CaptureFixture[str], clock: Clock, seconds: float, photos: int, **verbosity: bool) -> list[str]:
    context = click.Context(click.Command("score"))
    context.meta["xaicli.verbosity"] = Verbosity(**verbosity)
    with context, CommandProgress().task("scoring", photos) as step:
        for _ in range(photos):
            clock.now += seconds
            step()
    return capsys.readouterr().err.splitlines()


def test_a_long_run_says_once_a_minute_how_far_it_is_how_fast_and_the_time_left(capsys, clock) -> None:
    told = lines(capsys, clock, seconds=10.0, photos=20)
    assert told == [
        "scoring 6 of 20, 6 a minute, 2 min 20 s left",
        "scoring 12 of 20, 6 a minute, 1 min 20 s left",
        "scoring 18 of 20, 6 a minute, 20 s left",
    ]


def test_a_short_run_says_nothing_meanwhile(capsys, clock) -> None:
    assert lines(capsys, clock, seconds=2.0, photos=20) == []


@pytest.mark.parametrize("verbosity", [{"quiet": True}, {"progress": False}])
def test_nobody_is_told_who_does_not_want_to_be(capsys, clock, verbosity) -> None:
    assert lines(capsys, clock, seconds=10.0, photos=20, **verbosity) == []
