"""`xai score`, and what follows it (`export`, `merge`, `report`), as typed in a shell."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.cli.main import main
from xaicli.results.store import Store
from xaicli.rows import COLUMNS, Row

NET = Path(__file__).parents[1] / "data" / "net.py"
MODEL = f"{NET}:make"
METRICS = "deletion@steps=4,insertion@steps=4"
CONTROLS = 3
DEAD = """
import torch
from torch import nn

import xaicli


def dead():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    nn.init.constant_(layer.bias, -1000.0)
    net = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return xaicli.classifier(net, resize=32, crop=32)
"""


class Shell:
    """Runs `xai` in this process, in a folder of its own that holds photos/0.png to photos/5.png."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.capsys, self.folder = capsys, folder
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *words: object) -> int:
        self.capsys.readouterr()
        self.code = main([str(word) for word in words])
        self.out, self.err = self.capsys.readouterr()
        return self.code

    def score(self, *words: object, images: object = "photos", model: str = MODEL, method: str = "grad-cam") -> int:
        """With quick metrics, unless others are named."""
        metric = () if "--metric" in words else ("--metric", METRICS)
        named = () if "--maps" in words else ("--method", method)
        listed = images if isinstance(images, list) else [images]
        return self("score", *listed, "--model", model, *named, *metric, *words)

    @property
    def error(self) -> str:
        """The one error line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]

    @property
    def rows(self) -> list[dict[str, object]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


def photo(path: Path, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(6):
        photo(tmp_path / "photos" / f"{number}.png", number)
    return Shell(capsys, tmp_path)


def rows_of(path: str | Path) -> dict[tuple[str, str, int], Row]:
    with Store.open(path, write=False) as store:
        listed = list(store.rows(curves=True))
    found = {row.key: row for row in listed}
    assert len(found) == len(listed)
    return found


def values_of(path: str | Path) -> dict[tuple[str, str, str], float | None]:
    return {(Path(row.image).name, row.method, row.metric): row.value for row in rows_of(path).values()}


def assert_close(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value == pytest.approx(other[key], abs=1e-5), key


# Rows


def test_jsonl_has_a_row_for_each_photo_method_and_metric_with_readouts_as_columns(xai: Shell) -> None:
    assert xai.score("--format", "jsonl") == 0
    assert len(xai.rows) == 6 * 2 * (1 + CONTROLS)
    row = xai.rows[0]
    assert tuple(row)[: len(COLUMNS)] == COLUMNS
    assert {"log_odds", "normalised", "p0", "p_baseline", "tied"} <= set(row)
    assert {r["method"] for r in xai.rows} == {"grad-cam", "random", "center", "other@base=grad-cam"}
    assert {r["image"] for r in xai.rows} == {f"photos/{number}.png" for number in range(6)}
    assert {r["metric"] for r in xai.rows} == {"deletion@steps=4", "insertion@steps=4"}
    assert all(math.isfinite(r["value"]) and r["status"] == "ok" for r in xai.rows)
    assert "48 rows of 6 photos" in xai.err


def test_a_store_holds_the_rows_that_are_streamed(xai: Shell) -> None:
    assert xai.score("--format", "jsonl", "-o", "s.db") == 0
    streamed = {(Path(row["image"]).name, row["method"], row["metric"]): row["value"] for row in xai.rows}
    assert streamed == values_of("s.db")
    assert "all rows in s.db (xai report s.db)" in xai.err


def test_the_same_command_gives_the_same_rows(xai: Shell) -> None:
    for name in ("a.db", "b.db"):
        assert xai.score("-o", name, method="grad-cam,rise@n_masks=16") == 0
    assert rows_of("a.db") == rows_of("b.db")


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_means_have_intervals_and_n_in_every_form(xai: Shell, form: str) -> None:
    assert xai.score("--format", form) == 0
    if form == "json":
        (group,) = json.loads(xai.out)["groups"]
        assert group["photos"] == 6
        assert {cell["method"] for cell in group["cells"]} == {"grad-cam", "random", "center", "other@base=grad-cam"}
        assert all(cell["low"] <= cell["mean"] <= cell["high"] and cell["n"] == 6 for cell in group["cells"])
    elif form == "csv":
        lines = list(csv.DictReader(io.StringIO(xai.out)))
        assert len(lines) == 2 * (1 + CONTROLS)
        assert {line["n"] for line in lines} == {"6"}
    else:
        assert "grad-cam" in xai.out
        assert "6 photos; the mean and its 95 % interval." in xai.out


def test_one_photo_has_a_value_and_no_interval(xai: Shell) -> None:
    assert xai.score("--format", "json", images="photos/0.png") == 0
    (group,) = json.loads(xai.out)["groups"]
    assert {cell["method"] for cell in group["cells"]} == {"grad-cam", "random", "center"}
    assert all(cell["mean"] is None and math.isfinite(cell["single"]) for cell in group["cells"])


def test_without_controls_and_without_curves(xai: Shell) -> None:
    assert xai.score("--no-controls", "--no-curves", "-o", "s.db") == 0
    rows = rows_of("s.db").values()
    assert {row.method for row in rows} == {"grad-cam"}
    assert {row.curve for row in rows} == {None}
    assert xai.score("--no-controls", "-o", "t.db") == 0
    assert {len(row.curve.x) for row in rows_of("t.db").values() if row.curve} == {5}


def test_a_control_that_is_asked_for_as_a_method_stands_there_once(xai: Shell) -> None:
    assert xai.score("--format", "jsonl", method="random") == 0
    assert Counter(row["method"] for row in xai.rows) == {"random": 12, "center": 12, "other@base=random": 12}


# What does not matter


def test_values_depend_on_neither_batch_nor_order(xai: Shell) -> None:
    method = "grad-cam,rise@n_masks=16"
    xai.score("-o", "plain.db", method=method)
    backwards = [f"photos/{number}.png" for number in reversed(range(6))]
    for name, words, images in (("one.db", ["--batch-size", 1], "photos"), ("back.db", ["--batch-size", 7], backwards)):
        assert xai.score("-o", name, *words, images=images, method=method) == 0
        assert_close(values_of(name), values_of("plain.db"))


def test_the_control_of_another_photo_depends_on_the_set_of_photos_alone(xai: Shell) -> None:
    xai.score("-o", "all.db")
    for number in range(6):
        xai.score("-o", f"{number}.db", "--shard", f"{number + 1}/6")
    merged = [f"{number}.db" for number in range(6)]
    assert xai("merge", *merged, "-o", "merged.db") == 0
    assert_close(values_of("merged.db"), values_of("all.db"))


@pytest.mark.parametrize("parts", [2, 3])
def test_shards_are_disjoint_and_joined_they_are_the_whole(xai: Shell, parts: int) -> None:
    xai.score("-o", "all.db")
    names = [f"{part}.db" for part in range(1, parts + 1)]
    seen: list[str] = []
    for part, name in enumerate(names, 1):
        assert xai.score("-o", name, "--shard", f"{part}/{parts}") == 0
        seen += {image for image, _, _ in values_of(name)}
    assert sorted(seen) == [f"{number}.png" for number in range(6)]
    assert xai("merge", *names, "-o", "merged.db") == 0
    assert "48 rows in merged.db" in xai.err
    assert_close(values_of("merged.db"), values_of("all.db"))


# Again


def test_running_again_does_nothing_and_shows_the_same_table(xai: Shell, count_passes: Callable[[], int]) -> None:
    xai.score("-o", "s.db")
    table, rows = xai.out, rows_of("s.db")
    count_passes()
    assert xai.score("-o", "s.db") == 0
    assert count_passes() == 0
    assert xai.out == table
    assert "0 rows of 0 photos" in xai.err
    assert "6 photos complete before" in xai.err
    assert rows_of("s.db") == rows


def test_another_photo_method_or_metric_costs_what_is_missing_alone(xai: Shell, count_passes: Callable[[], int]) -> None:
    images = [f"photos/{number}.png" for number in range(5)]
    xai.score("-o", "s.db", images=images)
    count_passes()
    assert xai.score("-o", "s.db", "--format", "jsonl", method="grad-cam,rise@n_masks=8", images=images) == 0
    assert Counter(row["method"] for row in xai.rows) == {"rise@n_masks=8": 10, "other@base=rise@n_masks=8": 10}
    assert count_passes() == 0
    more = f"{METRICS},sparseness"
    assert xai.score("-o", "s.db", "--format", "jsonl", "--metric", more, images=images) == 0
    assert {row["metric"] for row in xai.rows} == {"sparseness"}
    assert len(xai.rows) == 5 * (1 + CONTROLS)
    assert xai.score("-o", "s.db", "--format", "jsonl") == 0
    assert {row["image"] for row in xai.rows} == {"photos/5.png"}
    assert len(rows_of("s.db")) == 6 * 2 * (1 + CONTROLS) + 5 * 4 + 5 * 4
    xai.score("-o", "t.db", images=images)
    first = {key: row for key, row in rows_of("s.db").items() if key in rows_of("t.db")}
    assert first == rows_of("t.db")


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


def test_a_copy_of_a_photo_is_the_same_photo(xai: Shell) -> None:
    shutil.copy(xai.folder / "photos/0.png", xai.folder / "photos/copy.png")
    assert xai.score("-o", "s.db", "--format", "jsonl") == 0
    assert len(xai.rows) == len(rows_of("s.db")) == 6 * 2 * (1 + CONTROLS)
    assert xai.score("-o", "s.db", "--format", "jsonl") == 0
    assert xai.rows == []


def test_copies_with_targets_of_their_own_are_scored_for_each(xai: Shell) -> None:
    shutil.copy(xai.folder / "photos/0.png", xai.folder / "photos/copy.png")
    targets = "".join(f"{name},{2 if name == 'copy.png' else 1}\n" for name in sorted(os.listdir("photos")))
    Path("targets.csv").write_text(f"image,target\n{targets}")
    assert xai.score("--format", "jsonl", "--target", "@targets.csv", "--no-controls") == 0
    assert len(xai.rows) == 7 * 2
    assert {row["image"]: row["target"] for row in xai.rows}["photos/copy.png"] == "2"


def test_another_seed_is_another_row(xai: Shell) -> None:
    for seed in (0, 1):
        assert xai.score("-o", "s.db", "--seed", seed, "--no-controls", method="rise@n_masks=8") == 0
    assert Counter(row.seed for row in rows_of("s.db").values()) == {0: 12, 1: 12}


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


def killed_at_random(folder: Path, times: int) -> None:
    for number in range(6, 24):
        photo(folder / "photos" / f"{number}.png", number)
    words = ["score", "photos", "--model", MODEL, "--method", "grad-cam,rise@n_masks=16", "--metric", METRICS]
    start = time.monotonic()
    assert os.waitpid(in_child([*words, "-o", "calm.db"]), 0)[1] == 0
    whole, moments, killed = time.monotonic() - start, random.Random(times), 0
    expected = rows_of("calm.db")
    a_photo = len(expected) // 24
    for _ in range(times):
        child = in_child([*words, "-o", "killed.db"])
        time.sleep(moments.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if Path("killed.db").exists() and Path("killed.db").stat().st_size:
            photos = Counter(row.photo for row in rows_of("killed.db").values())
            assert set(photos.values()) <= {a_photo}
        if Path("killed.db").exists() and len(rows_of("killed.db")) == len(expected):
            for path in Path().glob("killed.db*"):
                path.unlink()
    assert killed
    assert os.waitpid(in_child([*words, "-o", "killed.db"]), 0)[1] == 0
    assert rows_of("killed.db") == expected
    with sqlite3.connect("killed.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT count(*) FROM maps").fetchone() == (48,)
    raw.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_a_few_moments_and_run_again_the_rows_are_those_of_an_undisturbed_run(xai: Shell) -> None:
    killed_at_random(xai.folder, 3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_twenty_moments_and_run_again_the_rows_are_those_of_an_undisturbed_run(xai: Shell) -> None:
    killed_at_random(xai.folder, 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_into_one_store_make_the_rows_of_one(xai: Shell) -> None:
    words = ["score", "--model", MODEL, "--method", "grad-cam", "--metric", METRICS, "-o"]
    photos = [f"photos/{number}.png" for number in range(6)]
    assert main([*words, "one.db", *photos]) == 0
    children = [in_child([*words, "two.db", *photos]), in_child([*words, "two.db", *reversed(photos)])]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert_close(values_of("two.db"), values_of("one.db"))


# The gate of a shell


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--fail-under", "insertion@steps=4=0"], 0, ""),
        (["--fail-under", "insertion@steps=4=0.999"], 1, "FAIL  grad-cam  insertion@steps=4: lower end 0."),
        (["--fail-over", "deletion@steps=4=1"], 0, ""),
        (["--fail-over", "deletion@steps=4=0.001"], 1, "upper end"),
        (["--fail-under", "insertion@steps=4=0", "--fail-over", "deletion@steps=4=0"], 1, "deletion@steps=4"),
    ],
)
def test_bounds_are_held_against_the_ends_of_the_interval(xai: Shell, words: list[str], code: int, said: str) -> None:
    assert xai.score(*words) == code
    assert ("FAIL" in xai.err) is (code == 1)
    assert said in xai.err
    assert "random" not in "".join(line for line in xai.err.splitlines() if line.startswith("FAIL"))


def test_a_mean_without_an_interval_meets_no_bound(xai: Shell) -> None:
    assert xai.score("--fail-under", "insertion@steps=4=0", images="photos/0.png") == 1
    assert "unknown (too few photos)" in xai.err


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("insertion@steps=4=nan", "is no bound"),
        ("insertion@steps=4=inf", "is no bound"),
        ("insertion@steps=4=high", "is no bound"),
        ("0.5", "is no bound"),
        ("=0.5", "is no bound"),
        ("inserton=0.5", "Did you mean insertion"),
        ("insertion=0.5", "which is not scored; expected deletion@steps=4, insertion@steps=4"),
    ],
)
def test_a_bound_that_would_hold_nothing_is_refused(xai: Shell, bound: str, words: str) -> None:
    for option in ("--fail-under", "--fail-over"):
        assert xai.score(option, bound, "-o", "s.db") == 2
        assert words in xai.error
    assert not Path("s.db").exists()


def test_an_empty_shard_meets_no_bound(xai: Shell) -> None:
    assert xai.score("--fail-under", "insertion@steps=4=0", "--shard", "1/1000", images="photos/0.png") in (1, 0)
    empty = next(
        part for part in range(1, 4) if xai.score("--shard", f"{part}/3", images="photos/0.png") == 0 and "0 photos" in xai.err
    )
    assert xai.score("--fail-under", "insertion@steps=4=0", "--shard", f"{empty}/3", images="photos/0.png") == 1
    assert "nothing was scored" in xai.err


# Ground truth


def test_ground_truth_from_masks_is_scored_and_photos_without_it_say_so(xai: Shell) -> None:
    Path("masks").mkdir()
    for number in range(5):
        Image.fromarray(np.full((40, 40), 255, dtype=np.uint8)).save(f"masks/{number}.png")
    words = ["--truth", "masks", "--metric", "pointing-game,energy-pointing-game", "--format", "jsonl", "--no-controls"]
    assert xai.score(*words) == 0
    assert "ground truth of 5 of 6 photos" in xai.err
    found = {(row["image"], row["metric"]): (row["value"], row["status"]) for row in xai.rows}
    assert found["photos/0.png", "pointing-game"] == (1.0, "ok")
    assert found["photos/0.png", "energy-pointing-game"] == (pytest.approx(1.0), "ok")
    assert found["photos/5.png", "pointing-game"] == (None, "no-truth")


def test_metrics_that_need_what_is_not_there_are_refused_before_any_work(xai: Shell) -> None:
    assert xai.score("--metric", "pointing-game", "-o", "s.db") == 2
    assert "pointing-game needs ground truth" in xai.error
    assert "--truth DIR" in xai.error
    assert not Path("s.db").exists()


def test_a_sign_that_a_metric_cannot_read_is_refused_in_words(xai: Shell) -> None:
    Path("masks").mkdir()
    Image.fromarray(np.full((40, 40), 255, dtype=np.uint8)).save("masks/0.png")
    words = ["--truth", "masks", "--metric", "energy-pointing-game"]
    assert xai.score(*words, images="photos/0.png", method="grad-cam@relu=false") == 2
    assert "energy-pointing-game needs non-negative maps, and those of grad-cam@relu=false are signed" in xai.error
    assert "relu" in xai.error


# What goes wrong


def test_a_constant_map_keeps_its_status_and_gets_no_score(xai: Shell) -> None:
    Path("dead.py").write_text(DEAD)
    assert xai.score("--format", "jsonl", "--no-controls", "-o", "s.db", model="dead.py:dead") == 0
    assert {(row["value"], row["status"]) for row in xai.rows} == {(None, "constant")}
    assert xai.score("--no-controls", "-o", "s.db", model="dead.py:dead") == 0
    assert "6 photos complete before" in xai.err
    assert "has no deletion@steps=4 and insertion@steps=4 for 6 of 6 photos: 6 constant." in xai.out
    assert xai.score("--fail-under", "insertion@steps=4=0", "--no-controls", model="dead.py:dead") == 1


def test_a_broken_photo_stops_the_run_and_what_was_finished_is_kept(xai: Shell) -> None:
    Path("photos/3.png").write_bytes(b"no photo at all")
    assert xai.score("-o", "s.db") == 3
    assert "photos/3.png" in xai.error
    before = len(rows_of("s.db"))
    photo(Path("photos/3.png"), 3)
    assert xai.score("-o", "s.db") == 0
    assert len(rows_of("s.db")) == 48 >= before
    xai.score("-o", "t.db")
    assert_close(values_of("s.db"), values_of("t.db"))


def test_keep_going_names_what_failed_and_costs_no_other_photo_a_score(xai: Shell) -> None:
    for number in (1, 3, 4):
        Path(f"photos/{number}.png").write_bytes(b"no photo at all")
    assert xai.score("-o", "s.db", "--keep-going") == 4
    assert all(f"photos/{number}.png" in xai.err for number in (1, 3, 4))
    assert "24 rows of 6 photos" in xai.err
    assert "3 photos failed" in xai.err
    counts = Counter((row.image, row.method) for row in rows_of("s.db").values())
    assert len(counts) == 3 * (1 + CONTROLS)
    assert set(counts.values()) == {2}


def test_who_lends_a_map_does_not_depend_on_shards_where_photos_are_broken(xai: Shell) -> None:
    Path("photos/2.png").write_bytes(b"no photo at all")
    xai.score("-o", "all.db", "--keep-going")
    for part in (1, 2, 3):
        xai.score("-o", f"{part}.db", "--keep-going", "--shard", f"{part}/3")
    assert xai("merge", "1.db", "2.db", "3.db", "-o", "merged.db") == 0
    assert_close(values_of("merged.db"), values_of("all.db"))


def test_a_photo_that_is_not_there_is_lost_under_keep_going_and_fatal_without(xai: Shell) -> None:
    images = ["photos/0.png", "photos/1.png", "photos/nowhere.png"]
    assert xai.score("--keep-going", images=images) == 4
    assert "nowhere.png does not exist" in xai.err
    assert xai.score(images=images) == 3
    assert "nowhere.png does not exist" in xai.error


def test_nan_logits_are_the_models_fault(xai: Shell) -> None:
    Image.new("RGB", (40, 40), "white").save("photos/6.png")
    assert xai.score("-o", "s.db", model=f"{NET}:gives_nan") == 5
    assert "NaN or infinite logits for 6.png" in xai.error
    assert xai.score("-o", "s.db", "--keep-going", model=f"{NET}:gives_nan") == 4
    assert {Path(row.image).name for row in rows_of("s.db").values()} == {f"{number}.png" for number in range(6)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--metric", "insertoin"], 2, "Did you mean insertion"),
        (["--metric", "deletion,deletion"], 2, "named twice"),
        (["--metric", "deletion@steps=0"], 2, "steps=0 cannot be used"),
        (["--shard", "0/2"], 2, "is no shard"),
        (["--shard", "3/2"], 2, "is no shard"),
        (["--shard", "1"], 2, "is no shard"),
        (["--shard", "a/b"], 2, "is no shard"),
        (["--target", "zebra"], 2, 'no class is called "zebra"'),
        (["--target", "99"], 2, "out of range"),
        (["--seed", "-1"], 2, "--seed"),
        (["--format", "xml"], 2, "--format"),
        (["--truth", "nowhere"], 3, "nowhere"),
        (["-o", "."], 3, "is a folder"),
        (["-o", "nowhere/s.db"], 3, "cannot be opened"),
        (["-o", "photos/0.png"], 3, "is not a store"),
        (["--method", "lime", "--maps", "photos"], 2, "--maps and --method"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(xai: Shell, words: list[str], code: int, said: str) -> None:
    images = {path: path.read_bytes() for path in (xai.folder / "photos").iterdir()}
    assert xai.score(*words) == code
    assert said in xai.error
    assert {path: path.read_bytes() for path in (xai.folder / "photos").iterdir()} == images


def test_without_photos_or_with_an_unknown_method_it_says_what_to_type(xai: Shell) -> None:
    assert xai("score") == 2
    assert "no photo is named" in xai.error
    assert xai.score(method="grad-cma") == 2
    assert "Did you mean grad-cam" in xai.error


# What follows


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_store_is_exported_with_the_columns_of_a_row(xai: Shell, form: str) -> None:
    xai.score("-o", "s.db")
    assert xai("export", "s.db", "-o", f"rows.{form}") == 0
    assert "48 rows in" in xai.err
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(Path("rows.csv").read_text())))
    elif form == "jsonl":
        rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table("rows.parquet").to_pylist()
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    values = {(Path(row["image"]).name, row["method"], row["metric"]): float(row["value"]) for row in rows}
    assert_close(values, values_of("s.db"))


def test_export_streams_to_stdout_and_selects(xai: Shell) -> None:
    xai.score("-o", "s.db")
    assert xai("export", "s.db", "--format", "jsonl", "--metric", "insertion@steps=4", "--no-controls") == 0
    assert {(row["method"], row["metric"]) for row in xai.rows} == {("grad-cam", "insertion@steps=4")}
    assert len(xai.rows) == 6


def test_a_report_is_written_from_a_scored_store(xai: Shell) -> None:
    xai.score("-o", "s.db")
    assert xai("report", "s.db", "-o", "report.html") == 0
    page = Path("report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "grad-cam" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert xai.score("-o", "bare.db", "--no-maps", "--no-curves") == 0
    assert xai("report", "bare.db", "-o", "bare.html") == 0


def test_the_process_can_be_stopped_and_says_so(xai: Shell) -> None:
    command = [sys.executable, "-m", "xaicli.cli.main", "score", "photos", "--model", MODEL, "--method", "rise@n_masks=200000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("model "):
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert "terminated" in process.stderr.read()
    process.stderr.close()
