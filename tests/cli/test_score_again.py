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
from xaicli.images.source import Source
from xaicli.results.report.entries import entries_of
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.rows import Row
from xaicli.runs.controls import Ring

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
    # The new photo is the partner of the one before it on the ring of contents, which so has a control of its own to be scored.
    assert Counter(row["image"] for row in shell.rows if not row["method"].startswith("other")) == {"photos/5.png": 6}
    assert Counter(row["method"] for row in shell.rows)["other@base=grad-cam"] == 2 * 2
    assert len(shell.stored("s.db")) == 6 * 2 * (1 + CONTROLS) + 2 + 5 * 4 + 5 * 4
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


LISTED = [f"photos/{number}.png" for number in (3, 0, 5, 1, 4, 2)]


def order_of(shell) -> list[str]:
    """The photos in the order of their first rows."""
    return list(dict.fromkeys(row["image"] for row in shell.rows))


def test_photos_are_scored_in_the_order_of_the_list(shell) -> None:
    for words in (["--no-controls"], ["--controls", "random,center"], []):
        assert shell.score(*words, "--format", "jsonl", images=LISTED) == 0
        assert order_of(shell) == LISTED


@pytest.mark.parametrize(
    ("limits", "most"), [({"MEMORY": 1 << 14}, 1), ({"PAGE": 1 << 10, "DISK": 3 << 10}, 2), ({"LARGEST": 0}, 2)]
)
def test_more_maps_than_find_room_do_not_change_the_order_nor_the_rows(
    shell, limits: dict[str, int], most: int, count_passes: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file each map is made once; without room there, at most twice."""
    assert shell.score("--format", "jsonl", "-o", "roomy.db", images=LISTED) == 0
    assert count_passes() == len(LISTED)
    for name, value in limits.items():
        monkeypatch.setattr(f"xaicli.runs.map_shelf.{name}", value)
    assert shell.score("--format", "jsonl", "-o", "narrow.db", images=LISTED) == 0
    assert order_of(shell) == LISTED
    made = count_passes()
    assert len(LISTED) <= made <= most * len(LISTED)
    assert (made > len(LISTED)) == (most > 1)
    assert shell.stored("narrow.db") == shell.stored("roomy.db")


@pytest.mark.parametrize("words", [[], ["--no-controls"]])
def test_who_lends_a_map_is_looked_up_for_each_photo_and_not_for_all_of_them_each_time(
    shell, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    after = Ring.after

    def most_asked(photos: list[str]) -> int:
        asked: Counter[Source] = Counter()
        monkeypatch.setattr(Ring, "after", lambda ring, source: asked.update([source]) or after(ring, source))
        assert shell.score(*words, images=photos) == 0
        return max(asked.values())

    assert most_asked(LISTED[:3]) == most_asked(LISTED) > 0


@pytest.mark.parametrize("broken", range(6))
def test_a_photo_that_cannot_be_used_costs_no_pass_in_the_order_of_the_list(
    shell, broken: int, count_passes: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"photos/{broken}.png").write_bytes(b"no picture")
    assert shell.score("--keep-going", "-o", "listed.db", images=LISTED) == 4
    assert count_passes() == len(LISTED) - 1
    monkeypatch.setattr("xaicli.runs.map_shelf.LARGEST", 0)
    assert shell.score("--keep-going", "-o", "narrow.db", images=LISTED) == 4
    assert shell.stored("listed.db").keys() == shell.stored("narrow.db").keys()


@pytest.mark.parametrize("broken", [(2,), (0, 3), (1, 2, 3, 4)])
def test_running_again_over_broken_photos_takes_no_pass(shell, broken: tuple[int, ...], count_passes: Callable[[], int]) -> None:
    for number in broken:
        Path(f"photos/{number}.png").write_bytes(f"no picture {number}".encode())
    assert shell.score("--keep-going", "-o", "s.db") == 4
    rows = shell.stored("s.db")
    assert count_passes() == 6 - len(broken)
    assert shell.score("--keep-going", "-o", "s.db") == 4
    assert count_passes() == 0
    assert shell.stored("s.db") == rows


class TestHistory:
    """The control `other` is the map of the next photo of the job, and jobs grow."""

    def means(self, path: str) -> dict[tuple[str, str], tuple[float | None, int]]:
        with Store.open(path, write=False) as store:
            (group,) = summarise(store)
        return {name: (cell.estimate.value, cell.estimate.n) for name, cell in group.cells.items()}

    def assert_same_means(self, path: str, fresh: str) -> None:
        one, other = self.means(path), self.means(fresh)
        assert one.keys() == other.keys()
        for name, (value, count) in one.items():
            assert (value, count) == (pytest.approx(other[name][0], abs=1e-6), other[name][1]), name

    @pytest.fixture
    def fresh(self, shell) -> str:
        shell.score("-o", "fresh.db")
        return shell.out

    def test_a_job_that_grew_says_what_a_fresh_one_says(self, shell, fresh: str) -> None:
        for count in (2, 4, 6):
            shell.score("-o", "grown.db", "--limit", count)
        assert shell.out == fresh
        self.assert_same_means("grown.db", "fresh.db")
        assert len(shell.stored("grown.db")) > len(shell.stored("fresh.db"))
        assert shell.stored("fresh.db").items() <= shell.stored("grown.db").items()

    def test_so_does_one_whose_photos_came_in_another_order(self, shell, fresh: str) -> None:
        for numbers in ((5, 3), (5, 3, 0, 4), (4, 2, 1, 0, 5, 3)):
            shell.score("-o", "grown.db", images=[f"photos/{number}.png" for number in numbers])
        self.assert_same_means("grown.db", "fresh.db")

    def test_so_does_a_merge_of_two_histories(self, shell, fresh: str) -> None:
        shell.score("-o", "four.db", "--limit", 4)
        shell.score("-o", "shard.db", "--shard", "1/2")
        shell.score("-o", "rest.db", "--shard", "2/2")
        for stores in (["four.db", "shard.db", "rest.db"], ["rest.db", "fresh.db", "four.db", "shard.db"]):
            assert shell("merge", *stores, "-o", "merged.db", "--overwrite") == 0
            self.assert_same_means("merged.db", "fresh.db")

    def test_a_row_of_a_nearer_partner_stands_for_that_of_a_smaller_job(self, shell, fresh: str) -> None:
        before = shell.stored("fresh.db")
        assert shell.score("-o", "fresh.db", "--limit", 4) == 0
        assert shell.stored("fresh.db") == before

    def test_a_partner_that_cannot_be_used_is_not_looked_for_again(self, shell) -> None:
        Path("photos/2.png").write_bytes(b"no photo at all")
        assert shell.score("-o", "s.db", "--keep-going") == 4
        before = shell.stored("s.db")
        assert len(before) == 5 * 2 * (1 + CONTROLS)
        assert shell.score("-o", "s.db", "--keep-going") == 4
        assert "0 rows of" in shell.err
        assert shell.stored("s.db") == before

    def test_the_report_and_the_export_show_each_photos_maps_and_all_rows(self, shell, fresh: str) -> None:
        shell.score("-o", "grown.db", "--limit", 4)
        shell.score("-o", "grown.db")
        with Store.open("grown.db", write=False) as store:
            groups = summarise(store)
            (entries,) = entries_of(store, groups, store.photos())
        with Store.open("fresh.db", write=False) as store:
            groups = summarise(store)
            (expected,) = entries_of(store, groups, store.photos())
        shown = {entry.photo: (entry.values, list(entry.maps)) for entry in entries}
        assert shown == {entry.photo: (entry.values, list(entry.maps)) for entry in expected}
        assert all(len(maps) == 1 for _, maps in shown.values())
        assert shell("export", "grown.db", "--format", "jsonl") == 0
        assert len(shell.rows) == len(shell.stored("grown.db"))


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
