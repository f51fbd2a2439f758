"""Runs that are killed, told to end, or whose writes fail: the next run finishes them, and nothing is left over."""

from __future__ import annotations

import builtins
import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture.tally import Tally

from xaicli import files
from xaicli.cli.main import main
from xaicli.results.reading import Selection
from xaicli.results.store import Store

pytestmark = pytest.mark.torture
TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
PHOTOS = 12


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(PHOTOS):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"photos/{number}.png")


COMMANDS: dict[str, list[str]] = {
    "explain": ["explain", "photos", *MODEL, "--method", "grad-cam,rise@n_masks=64", "-q", "-o"],
    "score": ["score", "photos", *MODEL, "--method", "grad-cam", "--metric", "deletion", "--no-controls", "-q", "-o"],
}


def outcome(verb: str, place: Path) -> object:
    """What a run has made, without what may differ from run to run."""
    if verb == "score":
        with Store.open(place, write=False) as store:
            return sorted((row.image, row.metric, round(row.value or 0, 6)) for row in store.rows(Selection()))
    return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.suffix == ".npy"}, sorted(os.listdir(place))


def start(verb: str, place: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "xaicli.cli.main", *COMMANDS[verb], str(place)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(
    verb: str, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert start(verb, tmp_path / "whole").wait() == 0
    seconds, expected = time.monotonic() - began, outcome(verb, tmp_path / "whole")
    chance, place = random.Random(21), tmp_path / "killed"
    tally = Tally(f"SIGKILL in xai {verb}", "make torture")
    for _ in range(amount(3, 50)):
        process = start(verb, place)
        time.sleep(seconds * chance.uniform(0.4, 1.0))
        process.send_signal(signal.SIGKILL)
        tally.count("killed" if process.wait() == -signal.SIGKILL else "was done before")
    assert start(verb, place).wait() == 0
    assert outcome(verb, place) == expected
    assert [name for name in os.listdir(tmp_path) if name.endswith((".part", "-wal", "-shm"))] == []
    tally.example = "the next run gives what an undisturbed one gives, and leaves nothing over"
    tally.keep()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_has_its_exit_code_and_keeps_what_was_finished(number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = start("explain", tmp_path / "out")
    while not list(tmp_path.glob("out/*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    ended = process.wait()
    assert ended in (code, 0)
    for sidecar in tmp_path.glob("out/*.json"):
        assert sidecar.with_suffix(".npy").exists()
    tally = Tally(f"{number.name} in xai explain", "make torture")
    tally.count(f"exit code {ended}")
    tally.keep()


class Failing:
    """A system call that fails the n-th time it is made, and works before and afterwards."""

    def __init__(self, call: Callable[..., object], at: int) -> None:
        self.call, self.left, self.failed = call, at, False

    def __call__(self, *words: object, **named: object) -> object:
        self.left -= 1
        if self.left == 0:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.call(*words, **named)


class FullDisk:
    """`open` for the module that writes files: files whose n-th write, over all of them, fails."""

    def __init__(self, at: int) -> None:
        self.left, self.failed = at, False

    def __call__(self, path: Path, mode: str) -> object:
        file = builtins.open(path, mode)  # noqa: SIM115  # closed by whoever opens it
        write, disk = file.write, self

        class Limited:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def __enter__(self) -> Limited:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

            def write(self, content: bytes) -> int:
                disk.left -= 1
                if disk.left == 0:
                    disk.failed = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return int(write(content))

        return Limited()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_each_write_that_fails_is_one_line_and_the_next_run_goes_on(
    call: str,
    amount: Callable[[int, int], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first, the second, the third … until none is left to fail."""
    tally = Tally(f"{call} fails in xai explain", "make torture")
    words = ["explain", "photos/0.png", *MODEL, "--method", "center", "-q"]
    assert main([*words, "-o", "whole"]) == 0
    expected = sorted(os.listdir("whole"))
    for at in range(1, amount(8, 200)):
        out = f"out{at}"
        with monkeypatch.context() as patch:
            if call == "write":
                fault: Failing | FullDisk = FullDisk(at)
                patch.setattr(files, "open", fault, raising=False)
            else:
                fault = Failing(getattr(os, call), at)
                patch.setattr(files.os, call, fault)
            code = main([*words, "-o", out])
        told = capsys.readouterr().err
        if not fault.failed:
            assert code == 0
            break
        assert code == 3, told
        assert "no space left" in told
        assert not [name for name in os.listdir(out) if name.endswith(".part")]
        tally.count("one line, exit code 3", line=told.splitlines()[-1])
        assert main([*words, "-o", out]) == 0
        assert sorted(os.listdir(out)) == expected
    tally.keep()
