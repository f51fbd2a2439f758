"""Runs that are killed, told to end, or whose writes fail: the next run finishes them, and nothing is left over."""

from __future__ import annotations

import builtins
import errno
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture.children import Commands
from torture.tally import Tally

from xaicli import files
from xaicli.cli.main import main
from xaicli.results.reading import Selection
from xaicli.results.store import Store

pytestmark = pytest.mark.torture
TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
PHOTOS = 12


KINDS = {"SIGINT": 130, "SIGTERM": 143}
COMMANDS: dict[str, list[str]] = {
    "explain": ["explain", "photos", *MODEL, "--method", "grad-cam,rise@n_masks=64", "-q", "-o"],
    "score": ["score", "photos", *MODEL, "--method", "grad-cam", "--metric", "deletion", "--no-controls", "-q", "-o"],
    "baseline": ["baseline", "--trust", "-q", "--suite"],
    "train": [
        "train",
        "classifier",
        "--model",
        "tiny@widths=6+8@blocks=1",
        "--data",
        "classes",
        "--resize",
        "16",
        "--crop",
        "16",
    ],
}
COMMANDS["train"] += ["--epochs", "8", "--batch-size", "4", "--save-every", "0", "-q", "-o"]
SUITE = """
model = "net.py:make"
images = ["../photos/"]
methods = ["grad-cam", "rise@n_masks=64"]
metrics = ["deletion"]
crop = 32
resize = 32
"""


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "classes/one", "classes/two"):
        Path(folder).mkdir(parents=True)
    for number in range(PHOTOS):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        for folder in ("photos", "classes/one" if number % 2 else "classes/two"):
            Image.fromarray(noise).save(f"{folder}/{number}.png")


def words_for(verb: str, name: str) -> list[str]:
    """The command that writes to the folder `name`."""
    Path(name).mkdir(exist_ok=True)
    if verb == "baseline":
        Path(name, "net.py").write_bytes((TESTS / "data" / "net.py").read_bytes())
        Path(name, "xai.toml").write_text(SUITE)
    place = {"explain": "out", "score": "s.db", "baseline": "xai.toml", "train": "net.safetensors"}[verb]
    return [*COMMANDS[verb], f"{name}/{place}"]


def contents(folder: Path) -> dict[str, object]:
    """What the files in a folder say: maps, scores, weights; of others that they are there."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.suffix == ".safetensors" and path.name.startswith("net") else None
        if path.suffix == ".npy":
            found[name] = np.load(path)
        if path.suffix == ".db":
            with Store.open(path, write=False) as store:
                rows = sorted((row.image, row.metric, row.value) for row in store.rows(Selection()))
            assert [row[:2] for row in rows] == [(f"photos/{name}", "deletion") for name in sorted(os.listdir("photos"))]
            found[name] = np.array([value for *_, value in rows])
    return found


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    """The same files, and in them the same; the last place of a number depends on what else was in its batch."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(np.asarray(found[name]), value, atol=1e-5)
        else:
            assert found[name] == value, name


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """Killed again and again until it is done, from its start again and again."""
    began = time.monotonic()
    assert commands.run(words_for(verb, "whole"), tmp_path) == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    chance, tally = random.Random(21), Tally(f"SIGKILL in xai {verb}", "make torture")
    kills = amount(2, 50)
    for trial in itertools.count():
        place = f"killed{trial}"
        words = words_for(verb, place)
        code = None
        while kills and code != 0:
            running = commands.start(words, tmp_path)
            time.sleep(seconds * chance.uniform(0, 0.6))
            running.send(signal.SIGKILL)
            code = running.wait()
            assert code in (0, 2, -signal.SIGKILL)
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
            assert commands.run(words, tmp_path) in (0, 2 if verb == "baseline" else 0)
        assert_same(contents(tmp_path / place), expected)
        if not kills:
            break
    tally.keep()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_signal_has_its_exit_code_and_keeps_what_was_finished(
    verb: str, name: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert commands.run(words_for(verb, "whole"), tmp_path) == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    tally = Tally(f"{name} in xai {verb}", "make torture")
    chance = random.Random(22)
    for trial in range(amount(1, 20)):
        words = words_for(verb, f"ended{trial}")
        running = commands.start(words, tmp_path, err=f"{tmp_path}/told.txt")
        time.sleep(seconds * chance.uniform(0.2, 0.9))
        running.send(signal.Signals[name])
        code, told = running.wait(), (tmp_path / "told.txt").read_text()
        seconds *= 1 if code else 0.8
        assert code in (KINDS[name], 0), told
        assert told.count("error:") == (code != 0), told
        assert "Traceback" not in told
        assert not list((tmp_path / f"ended{trial}").rglob("*.part*"))
        tally.count(f"exit code {code}", line=told)
        assert commands.run(words, tmp_path) in (0, 2 if verb == "baseline" else 0)
        assert_same(contents(tmp_path / f"ended{trial}"), expected)
    tally.keep()


def test_a_run_that_was_halted_goes_on_where_it_was(
    commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert commands.run(words_for("score", "whole"), tmp_path) == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    tally, chance = Tally("SIGSTOP and SIGCONT in xai score", "make torture"), random.Random(23)
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
