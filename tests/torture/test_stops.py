"""Runs that are killed, told to end, halted, or read by nobody: the next run finishes them, and nothing is left over."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torture.children import Commands
from torture.tally import Tally
from torture.verbs import COMMANDS, USUAL, assert_same, contents, done, done_again, words_for, write_photos

pytestmark = pytest.mark.torture
PHOTOS = 12

KINDS = {"SIGINT": 130, "SIGTERM": 143}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(PHOTOS)


@pytest.mark.parametrize("verb", USUAL)
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """Killed again and again until it is done, from its start again and again."""
    began = time.monotonic()
    assert commands.run(words_for(verb, "whole"), tmp_path) == done(verb)
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    chance, tally = random.Random(21), Tally(f"SIGKILL in xai {verb}")
    kills = amount(2, 50)
    for trial in itertools.count():
        place = f"killed{trial}"
        words = words_for(verb, place)
        code = None
        while kills and code != done(verb):
            running = commands.start(words, tmp_path)
            time.sleep(seconds * chance.uniform(0, 0.6))
            running.send(signal.SIGKILL)
            code = running.wait()
            assert code in (*done_again(verb), -signal.SIGKILL)
            if code != -signal.SIGKILL:
                # Too late: the first run of all took longer than later ones do.
                seconds *= 0.8
            if code == -signal.SIGKILL:
                kills -= 1
                tally.count("killed; the next run gave what an undisturbed one gives, and nothing was left over")
            if code == 2:
                # A baseline that was written is there; all else says that it is complete.
                assert verb == "baseline"
                break
        if code != 2:
            assert commands.run(words, tmp_path) in done_again(verb)
        assert_same(contents(tmp_path / place), expected)
        if not kills:
            break
    tally.keep()


@pytest.mark.parametrize(
    ("verb", "name"), [(verb, name) for verb in COMMANDS for name in KINDS if verb in USUAL or name == "SIGINT"]
)
def test_a_signal_has_its_exit_code_and_keeps_what_was_finished(
    verb: str, name: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert commands.run(words_for(verb, "whole"), tmp_path) == done(verb)
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    tally = Tally(f"{name} in xai {verb}")
    chance = random.Random(22)
    for trial in range(amount(1, 20)):
        words = words_for(verb, f"ended{trial}")
        running = commands.start(words, tmp_path, err=f"{tmp_path}/told.txt")
        time.sleep(seconds * chance.uniform(0.2, 0.9))
        running.send(signal.Signals[name])
        code, told = running.wait(), (tmp_path / "told.txt").read_text()
        seconds *= 1 if code == KINDS[name] else 0.8
        assert code in (KINDS[name], done(verb)), told
        assert told.count("error:") == (code == KINDS[name]), told
        assert "Traceback" not in told
        assert not list((tmp_path / f"ended{trial}").rglob("*.part*"))
        tally.count(f"exit code {code}", line=told)
        assert commands.run(words, tmp_path) in done_again(verb)
        assert_same(contents(tmp_path / f"ended{trial}"), expected)
    tally.keep()


def test_a_run_that_was_halted_goes_on_where_it_was(
    commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert commands.run(words_for("score", "whole"), tmp_path) == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    tally, chance = Tally("SIGSTOP and SIGCONT in xai score"), random.Random(23)
    for trial in range(amount(1, 20)):
        running = commands.start(words_for("score", f"halted{trial}"), tmp_path)
        while not running.ended:
            running.send(signal.SIGSTOP)
            time.sleep(0.02)
            running.send(signal.SIGCONT)
            time.sleep(seconds * chance.uniform(0.05, 0.3))
        assert running.wait() == 0
        assert_same(contents(tmp_path / f"halted{trial}"), expected)
        tally.count("went on to the same end")
    tally.keep()


def read_lines(pipe: Path, count: int) -> None:
    """The reader of a pipe, who closes it after so many lines."""
    with open(pipe, encoding="utf-8") as stream:
        for _ in range(count):
            stream.readline()


@pytest.mark.parametrize("verb", USUAL)
def test_a_run_whose_reader_is_gone_ends_without_an_error(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """As in `xai score … --format jsonl | head -2`: SIGPIPE to other programs."""
    assert commands.run(words_for(verb, "whole"), tmp_path) == done(verb)
    expected, tally = contents(tmp_path / "whole"), Tally(f"SIGPIPE in xai {verb}")
    rows = ["--format", "jsonl"] if verb in ("explain", "score") else []
    for trial in range(amount(1, 20)):
        words, pipe, told = words_for(verb, f"piped{trial}"), tmp_path / f"pipe{trial}", tmp_path / "told.txt"
        os.mkfifo(pipe)
        reader = threading.Thread(target=read_lines, args=(pipe, trial % (PHOTOS + 1)))
        reader.start()
        code = commands.run([*words, *rows], tmp_path, out=str(pipe), err=str(told))
        reader.join()
        # A gate that failed says so where its reader was there to the end.
        assert code in (0, done(verb)), told.read_text()
        assert "error:" not in told.read_text()
        tally.count(f"exit code {code}, no error; the next run gave what an undisturbed one gives")
        assert commands.run(words, tmp_path) in done_again(verb)
        assert_same(contents(tmp_path / f"piped{trial}"), expected)
    tally.keep()
