"""Runs that meet a limit: full disks, read-only folders, limits on files and memory. One line, and what was finished is kept."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture.children import Commands, virtual
from torture.limits import assert_tidy, told_in
from torture.tally import Tally

pytestmark = pytest.mark.torture
TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
SMALL = ("--model", "tiny@widths=6+8@blocks=1", "--resize", "16", "--crop", "16", "--epochs", "1")
COMMANDS = {
    "explain": ["explain", "photos", *MODEL, "--method", "center", "-o", "PLACE"],
    "score": ["score", "photos", *MODEL, "--method", "center", "--metric", "deletion@steps=4", "-o", "PLACE/s.db"],
    "baseline": ["baseline", "--trust", "--suite", "NAME.toml"],
    "train": [
        "train",
        "classifier",
        "--model",
        "tiny@widths=6+8@blocks=1",
        "--data",
        "classes",
        *SMALL,
        "-o",
        "PLACE/n.safetensors",
    ],
}
SUITE = """
model = "net.py:make"
images = ["photos/"]
methods = ["center"]
metrics = ["deletion@steps=4"]
crop = 32
resize = 32
baseline = "PLACE/base"
"""


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path) -> None:
    for folder in ("photos", "classes/one", "classes/two"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        for folder in ("photos", "classes/one" if number % 2 else "classes/two"):
            Image.fromarray(noise).save(tmp_path / folder / f"{number}.png")


def words_for(verb: str, place: Path) -> list[str]:
    place.mkdir(parents=True, exist_ok=True)
    if verb == "baseline":
        # The suite lies above its baseline.
        (place.parent / "net.py").write_bytes((TESTS / "data" / "net.py").read_bytes())
        (place.parent / f"{place.name}.toml").write_text(SUITE.replace("PLACE", place.name))
    return [word.replace("PLACE", str(place)).replace("NAME", place.name) for word in COMMANDS[verb]]


def finished(verb: str) -> tuple[int, ...]:
    """How the same command ends afterwards: a baseline that was written is there, and is not made again."""
    return (0, 2) if verb == "baseline" else (0,)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes; skips the test where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_limit_on_the_size_of_files_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """From nothing to where all fits."""
    assert commands.run(words_for(verb, tmp_path / "whole"), tmp_path) == 0
    whole = sorted(path.name for path in (tmp_path / "whole").rglob("*"))
    largest = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    tally, told = Tally(f"limits on the size of files in xai {verb}"), tmp_path / "told.txt"
    steps = amount(2, 40)
    for step in range(steps):
        place = tmp_path / f"limited{step}"
        # Messages go to a file of their own, which must fit as well.
        limit = {"RLIMIT_FSIZE": 400 + largest * step // steps}
        code = commands.run(words_for(verb, place), tmp_path, err=str(told), limits=limit)
        if code:
            assert code == 3, told.read_text()
            tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}/", ""))
        else:
            tally.count("did fit")
        assert commands.run(words_for(verb, place), tmp_path) in finished(verb)
        assert_tidy(place)
        assert sorted(path.name for path in place.rglob("*")) == whole
    tally.keep()


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    assert commands.run(words_for(verb, tmp_path / "whole"), tmp_path) == 0
    whole = sorted(path.name for path in (tmp_path / "whole").rglob("*"))
    needed = sum(path.stat().st_size // 4096 * 4096 + 4096 for path in (tmp_path / "whole").rglob("*") if path.is_file())
    tally, told = Tally(f"disks that are full in xai {verb}"), tmp_path / "told.txt"
    steps = amount(1, 20)
    for step in range(steps):
        place = tmp_path / f"disk{step}"
        with small_disk(place, max(4096, needed * step // steps)):
            code = commands.run(words_for(verb, place), tmp_path, err=str(told))
            if code:
                assert code == 3, told.read_text()
                tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}/", ""))
            else:
                tally.count("did fit")
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            assert commands.run(words_for(verb, place), tmp_path) in finished(verb)
            assert_tidy(place)
            assert sorted(path.name for path in place.rglob("*")) == whole
    tally.keep()


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_read_only_folder_is_one_line(verb: str, commands: Commands, tmp_path: Path) -> None:
    place, told = tmp_path / "fixed", tmp_path / "told.txt"
    tally = Tally(f"read-only folders in xai {verb}")
    with small_disk(place, 1 << 20):
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        assert commands.run(words_for(verb, place), tmp_path, err=str(told)) == 3
        tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}", "FOLDER"))
    tally.keep()


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_full_stdout_is_one_line(verb: str, commands: Commands, tmp_path: Path) -> None:
    tally, told = Tally(f"a full stdout in xai {verb}"), tmp_path / "told.txt"
    code = commands.run(words_for(verb, tmp_path / "out"), tmp_path, out="/dev/full", err=str(told))
    # Training prints nothing but its table of scores, and a baseline nothing.
    assert code == (0 if verb in ("train", "baseline") else 3)
    if code:
        tally.count("exit code 3, one line", line=told_in(told))
    else:
        tally.count("nothing to print")
    assert commands.run(words_for(verb, tmp_path / "out"), tmp_path) in finished(verb)
    assert_tidy(tmp_path / "out")
    tally.keep()


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_limit_on_memory_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """From what the libraries take to where all fits."""
    tally, told = Tally(f"limits on memory in xai {verb}"), tmp_path / "told.txt"
    before = virtual(commands.server.pid)
    for step in range(amount(2, 30)):
        place = tmp_path / f"limited{step}"
        limit = {"RLIMIT_AS": before + (step << 24)}
        code = commands.run(words_for(verb, place), tmp_path, err=str(told), limits=limit)
        if code < 0:
            # Native code of torch that does not look whether it got its memory.
            assert -code in (signal.SIGSEGV, signal.SIGABRT), told.read_text()
            tally.count(f"ended by {signal.Signals(-code).name} in native code")
        elif code:
            assert code in (3, 5), told.read_text()
            line = told_in(told)
            # Whatever library it was that got no memory, it is no fault of the network.
            assert "memory" in line
            tally.count(f"exit code {code}, one line", line=line)
        else:
            tally.count("did fit")
        assert commands.run(words_for(verb, place), tmp_path) in finished(verb)
        assert_tidy(place)
    tally.keep()
