"""The first, the second, the third … write, fsync or rename of a run fails: one line, and the next run goes on from there."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torture.children import Commands
from torture.limits import assert_tidy, told_in
from torture.tally import Tally
from torture.verbs import COMMANDS, USUAL, assert_same, contents, done, done_again, words_for, write_photos

pytestmark = pytest.mark.torture
PHOTOS = 4
CALLS = ("write", "fsync", "rename")
CODE = Path(__file__).with_name("failing_calls.c")


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Commands in which a system call can be made to fail, whichever library makes it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("failing") / "failing_calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(CODE), "-ldl"], check=True)
    with Commands(library) as running:
        yield running


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(PHOTOS)


@pytest.mark.parametrize(
    ("verb", "call"), [(verb, call) for verb in COMMANDS for call in CALLS if verb in USUAL or call == "write"]
)
def test_each_call_that_fails_is_one_line_and_the_next_run_goes_on(
    verb: str, call: str, failing: Commands, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    assert failing.run(words_for(verb, "whole"), tmp_path) == done(verb)
    expected, tally, told = contents(tmp_path / "whole"), Tally(f"{call} fails in xai {verb}"), tmp_path / "told.txt"
    for at in itertools.islice(itertools.count(1), amount(1, 1000)):
        place, failed = tmp_path / f"failed{at}", tmp_path / "has-failed"
        words = words_for(verb, place.name)
        fault = {"XAI_FAULT_CALL": call, "XAI_FAULT_AT": str(at), "XAI_FAULT_BELOW": f"{place}/", "XAI_FAULT_TOLD": str(failed)}
        code = failing.run(words, tmp_path, err=str(told), environment=fault)
        if not failed.exists():
            assert code == done(verb), told.read_text()
            break
        failed.unlink()
        if code != done(verb):
            assert code == 3, told.read_text()
            tally.count("exit code 3, one line", line=told_in(told).replace(f"{place}/", ""))
        else:
            tally.count("did without")
        assert not list(place.rglob("*.part"))
        assert failing.run(words, tmp_path, err=str(told)) in done_again(verb), told.read_text()
        assert_same(contents(place), expected)
        assert_tidy(place)
    # A store is one file, and nothing in it is renamed.
    assert bool(tally.tried) is ((verb, call) != ("score", "rename"))
    if tally.tried:
        tally.keep()
