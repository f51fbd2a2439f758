"""Runs that meet a limit: full disks, read-only folders, limits on files and memory. One line, and what was finished is kept."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torture.children import Commands, virtual
from torture.limits import assert_tidy, told_in
from torture.tally import Tally
from torture.verbs import USUAL, WRITES_NOTHING_TO_STDOUT, done, done_again, words_for, write_photos

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(6)


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


@pytest.mark.parametrize("verb", USUAL)
def test_a_limit_on_the_size_of_files_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """From nothing to where all fits."""
    assert commands.run(words_for(verb, "whole", quick=True), tmp_path) == done(verb)
    whole = sorted(path.name for path in (tmp_path / "whole").rglob("*"))
    largest = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    tally, told = Tally(f"limits on the size of files in xai {verb}"), tmp_path / "told.txt"
    steps = amount(2, 40)
    for step in range(steps):
        place = tmp_path / f"limited{step}"
        # Messages go to a file of their own, which must fit as well.
        limit = {"RLIMIT_FSIZE": 400 + largest * step // steps}
        code = commands.run(words_for(verb, place.name, quick=True), tmp_path, err=str(told), limits=limit)
        if code != done(verb):
            assert code == 3, told.read_text()
            tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}/", ""))
        else:
            tally.count("did fit")
        assert commands.run(words_for(verb, place.name, quick=True), tmp_path) in done_again(verb)
        assert_tidy(place)
        assert sorted(path.name for path in place.rglob("*")) == whole
    tally.keep()


@pytest.mark.parametrize("verb", USUAL)
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    assert commands.run(words_for(verb, "whole", quick=True), tmp_path) == done(verb)
    whole = sorted(path.name for path in (tmp_path / "whole").rglob("*"))
    needed = sum(path.stat().st_size // 4096 * 4096 + 4096 for path in (tmp_path / "whole").rglob("*") if path.is_file())
    tally, told = Tally(f"disks that are full in xai {verb}"), tmp_path / "told.txt"
    steps = amount(1, 20)
    for step in range(steps):
        place = tmp_path / f"disk{step}"
        with small_disk(place, max(4096, needed * step // steps)):
            code = commands.run(words_for(verb, place.name, quick=True), tmp_path, err=str(told))
            if code != done(verb):
                assert code == 3, told.read_text()
                tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}/", ""))
            else:
                tally.count("did fit")
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            assert commands.run(words_for(verb, place.name, quick=True), tmp_path) in done_again(verb)
            assert_tidy(place)
            assert sorted(path.name for path in place.rglob("*")) == whole
    tally.keep()


@pytest.mark.parametrize("verb", USUAL)
def test_a_read_only_folder_is_one_line(verb: str, commands: Commands, tmp_path: Path) -> None:
    place, told = tmp_path / "fixed", tmp_path / "told.txt"
    tally = Tally(f"read-only folders in xai {verb}")
    with small_disk(place, 1 << 20):
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        assert commands.run(words_for(verb, place.name, quick=True), tmp_path, err=str(told)) == 3
        tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}", "FOLDER"))
    tally.keep()


@pytest.mark.parametrize("verb", USUAL)
def test_a_full_stdout_is_one_line(verb: str, commands: Commands, tmp_path: Path) -> None:
    tally, told = Tally(f"a full stdout in xai {verb}"), tmp_path / "told.txt"
    code = commands.run(words_for(verb, "out", quick=True), tmp_path, out="/dev/full", err=str(told))
    assert code == (done(verb) if verb in WRITES_NOTHING_TO_STDOUT else 3)
    if code != done(verb):
        tally.count("exit code 3, one line", line=told_in(told))
    else:
        tally.count("nothing to print")
    assert commands.run(words_for(verb, "out", quick=True), tmp_path) in done_again(verb)
    assert_tidy(tmp_path / "out")
    tally.keep()


@pytest.mark.parametrize("verb", USUAL)
def test_a_limit_on_memory_is_one_line_and_the_next_run_goes_on(
    verb: str, commands: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    """From what the libraries take to where all fits."""
    tally, told = Tally(f"limits on memory in xai {verb}"), tmp_path / "told.txt"
    before = virtual(commands.server.pid)
    for step in range(amount(2, 30)):
        place = tmp_path / f"limited{step}"
        limit = {"RLIMIT_AS": before + (step << 24)}
        code = commands.run(words_for(verb, place.name, quick=True), tmp_path, err=str(told), limits=limit)
        if code < 0:
            # Native code of torch that does not look whether it got its memory.
            assert -code in (signal.SIGSEGV, signal.SIGABRT), told.read_text()
            tally.count(f"ended by {signal.Signals(-code).name} in native code")
        elif code != done(verb):
            assert code in (3, 5), told.read_text()
            line = told_in(told)
            # Whatever library it was that got no memory, it is no fault of the network.
            assert "memory" in line
            tally.count(f"exit code {code}, one line", line=re.sub(r"/\S*/", "", line))
        else:
            tally.count("did fit")
        assert commands.run(words_for(verb, place.name, quick=True), tmp_path) in done_again(verb)
        assert_tidy(place)
    tally.keep()
