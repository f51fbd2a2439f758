"""Running `xai score` again: what is there is not done twice, what was killed goes on, what runs at once agrees."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from xaicli.cli.main import main
from xaicli.errors import InputError
from xaicli.rows import Row

CONTROLS = 3


# Again


def test_running_again_does_nothing_and_shows_the_same_table(shell, count_passes: Callable[[], int]) -> None:
    shell.score("-o", "s.db")
    table, rows = shell.out, shell.stored("s.db")
    count_passes()
    assert shell.score("-o", "s.db") == 0
    assert count_passes() == 0
    assert shell.out == table
    assert "0 rows of 0 photos" in shell.err
    assert "6 photos complete before" in shell.err
    assert shell.stored("s.db") == rows


def test_another_photo_method_or_metric_costs_what_is_missing_alone(shell, count_passes: Callable[[], int]) -> None:
    images = [f"photos/{number}.png" for number in range(5)]
    shell.score("-o", "s.db", images=images)
    count_passes()
    assert shell.score("-o", "s.db", "--format", "jsonl", method="grad-cam,rise@n_masks=8", images=images) == 0
    assert Counter(row["method"] for row in shell.rows) == {"rise@n_masks=8": 10, "other@base=rise@n_masks=8": 10}
    assert count_passes() == 0
    more = f"{shell.metrics},sparseness"
    assert shell.score("-o", "s.db", "--format", "jsonl", "--metric", more, images=images) == 0
    assert {row["metric"] for row in shell.rows} == {"sparseness"}
    assert len(shell.rows) == 5 * (1 + CONTROLS)
    assert shell.score("-o", "s.db", "--format", "jsonl") == 0
    assert {row["image"] for row in shell.rows} == {"photos/5.png"}
    assert len(shell.stored("s.db")) == 6 * 2 * (1 + CONTROLS) + 5 * 4 + 5 * 4
    shell.score("-o", "t.db", images=images)
    first = {key: row for key, row in shell.stored("s.db").items() if key in shell.stored("t.db")}
    assert first == shell.stored("t.db")


@pytest.fixture
def count_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many photos Grad-CAM explained since the last call."""
    from xaicli.methods.grad_cam import GradCAM

    counted = [0]
    attribute = GradCAM.attribute

    def counting(self, classifier, inputs, *further):
        counted[0] += len(inputs)
        return attribute(self, classifier, inputs, *further)

    def since() -> int:
        before, counted[0] = counted[0], 0
        return before

    monkeypatch.setattr(GradCAM, "attribute", counting)
    return since


def test_a_copy_of_a_photo_is_the_same_photo(shell) -> None:
    shutil.copy(shell.folder / "photos/0.png", shell.folder / "photos/copy.png")
    assert shell.score("-o", "s.db", "--format", "jsonl") == 0
    assert len(shell.rows) == len(shell.stored("s.db")) == 6 * 2 * (1 + CONTROLS)
    assert shell.score("-o", "s.db", "--format", "jsonl") == 0
    assert shell.rows == []


def test_copies_with_targets_of_their_own_are_scored_for_each(shell) -> None:
    shutil.copy(shell.folder / "photos/0.png", shell.folder / "photos/copy.png")
    targets = "".join(f"{name},{2 if name == 'copy.png' else 1}\n" for name in sorted(os.listdir("photos")))
    Path("targets.csv").write_text(f"image,target\n{targets}")
    assert shell.score("--format", "jsonl", "--target", "@targets.csv", "--no-controls") == 0
    assert len(shell.rows) == 7 * 2
    assert {row["image"]: row["target"] for row in shell.rows}["photos/copy.png"] == "2"


def test_another_seed_is_another_row(shell) -> None:
    for seed in (0, 1):
        assert shell.score("-o", "s.db", "--seed", seed, "--no-controls", method="rise@n_masks=8") == 0
    assert Counter(row.seed for row in shell.stored("s.db").values()) == {0: 12, 1: 12}


# Killed, and two at once


def in_child(words: list[str]) -> int:
    """Run `xai` in a forked process, silently; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        code = main(words)
    except BaseException:
        code = 99
    os._exit(code)


def killed_at_random(shell, times: int) -> None:
    for number in range(6, 24):
        shell.photo(number)
    words = ["score", "photos", "--model", shell.model, "--method", "grad-cam,rise@n_masks=16", "--metric", shell.metrics]
    start = time.monotonic()
    assert os.waitpid(in_child([*words, "-o", "calm.db"]), 0)[1] == 0
    whole, moments, killed = time.monotonic() - start, random.Random(times), 0
    expected = shell.stored("calm.db")
    for _ in range(times):
        child = in_child([*words, "-o", "killed.db"])
        time.sleep(moments.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        finished = Counter(row.photo for row in there(shell))
        assert set(finished.values()) <= {len(expected) // 24}
        if len(finished) == 24:
            for path in Path().glob("killed.db*"):
                path.unlink()
    assert killed
    assert os.waitpid(in_child([*words, "-o", "killed.db"]), 0)[1] == 0
    assert_same(shell.stored("killed.db"), expected)
    with sqlite3.connect("killed.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT count(*) FROM maps").fetchone() == (48,)
    raw.close()


def there(shell) -> list[Row]:
    """The rows that a killed run left; it may have been killed before it made its tables."""
    try:
        return list(shell.stored("killed.db").values())
    except InputError as error:
        if "is empty" not in error.found and "is not there" not in error.found:
            raise
        return []


def assert_same(one: dict[tuple[str, str, int], Row], other: dict[tuple[str, str, int], Row]) -> None:
    """The same rows; numbers to rounding, since a run that is taken up again has other batches."""
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert row.value == pytest.approx(other[key].value, abs=1e-5)
        assert row.readouts == pytest.approx(other[key].readouts, abs=1e-5)
        assert row.curve.y == pytest.approx(other[key].curve.y, abs=1e-5)
        assert (row.image, row.target, row.status) == (other[key].image, other[key].target, other[key].status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_a_few_moments_and_run_again_the_rows_are_those_of_an_undisturbed_run(shell) -> None:
    killed_at_random(shell, 3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_twenty_moments_and_run_again_the_rows_are_those_of_an_undisturbed_run(shell) -> None:
    killed_at_random(shell, 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_into_one_store_make_the_rows_of_one(shell) -> None:
    words = ["score", "--model", shell.model, "--method", "grad-cam", "--metric", shell.metrics, "-o"]
    photos = [f"photos/{number}.png" for number in range(6)]
    assert main([*words, "one.db", *photos]) == 0
    children = [in_child([*words, "two.db", *photos]), in_child([*words, "two.db", *reversed(photos)])]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    shell.assert_close(shell.values("two.db"), shell.values("one.db"))
