"""`xai score`, and what follows it (`export`, `merge`, `report`), as typed in a shell."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.rows import COLUMNS

NET = Path(__file__).parents[1] / "data" / "net.py"
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


# Rows


def test_jsonl_has_a_row_for_each_photo_method_and_metric_with_readouts_as_columns(shell) -> None:
    assert shell.score("--format", "jsonl") == 0
    assert len(shell.rows) == 6 * 2 * (1 + CONTROLS)
    row = shell.rows[0]
    assert tuple(row)[: len(COLUMNS)] == COLUMNS
    assert {"log_odds", "normalised", "p0", "p_baseline", "tied"} <= set(row)
    assert {r["method"] for r in shell.rows} == {"grad-cam", "random", "center", "other@base=grad-cam"}
    assert {r["image"] for r in shell.rows} == {f"photos/{number}.png" for number in range(6)}
    assert {r["metric"] for r in shell.rows} == {"deletion@steps=4", "insertion@steps=4"}
    assert all(math.isfinite(r["value"]) and r["status"] == "ok" for r in shell.rows)
    assert "48 rows of 6 photos" in shell.err


def test_a_store_holds_the_rows_that_are_streamed(shell) -> None:
    assert shell.score("--format", "jsonl", "-o", "s.db") == 0
    streamed = {(Path(row["image"]).name, row["method"], row["metric"]): row["value"] for row in shell.rows}
    assert streamed == shell.values("s.db")
    assert "all rows in s.db (xai report s.db)" in shell.err


def test_a_table_speaks_of_the_photos_of_its_command(shell) -> None:
    assert shell.score("-o", "s.db") == 0
    assert shell.score("--limit", "2", "-o", "s.db") == 0
    assert "2 photos; the mean" in shell.out


def test_the_same_command_gives_the_same_rows(shell) -> None:
    for name in ("a.db", "b.db"):
        assert shell.score("-o", name, method="grad-cam,rise@n_masks=16") == 0
    assert shell.stored("a.db") == shell.stored("b.db")


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_means_have_intervals_and_n_in_every_form(shell, form: str) -> None:
    assert shell.score("--format", form) == 0
    if form == "json":
        (group,) = json.loads(shell.out)["groups"]
        assert group["photos"] == 6
        assert {cell["method"] for cell in group["cells"]} == {"grad-cam", "random", "center", "other@base=grad-cam"}
        assert all(cell["low"] <= cell["mean"] <= cell["high"] and cell["n"] == 6 for cell in group["cells"])
    elif form == "csv":
        lines = list(csv.DictReader(io.StringIO(shell.out)))
        assert len(lines) == 2 * (1 + CONTROLS)
        assert {line["n"] for line in lines} == {"6"}
    else:
        assert "grad-cam" in shell.out
        assert "6 photos; the mean and its 95 % interval (Student's t, corrected for skewness)." in shell.out


def test_one_photo_has_a_value_and_no_interval(shell) -> None:
    assert shell.score("--format", "json", images="photos/0.png") == 0
    (group,) = json.loads(shell.out)["groups"]
    assert {cell["method"] for cell in group["cells"]} == {"grad-cam", "random", "center"}
    assert all(cell["mean"] is None and math.isfinite(cell["single"]) for cell in group["cells"])


def test_without_controls_and_without_curves(shell) -> None:
    assert shell.score("--no-controls", "--no-curves", "-o", "s.db") == 0
    rows = shell.stored("s.db").values()
    assert {row.method for row in rows} == {"grad-cam"}
    assert {row.curve for row in rows} == {None}
    assert shell.score("--no-controls", "-o", "t.db") == 0
    assert {len(row.curve.x) for row in shell.stored("t.db").values() if row.curve} == {5}


def test_a_control_that_is_asked_for_as_a_method_stands_there_once(shell) -> None:
    assert shell.score("--format", "jsonl", method="random") == 0
    assert Counter(row["method"] for row in shell.rows) == {"random": 12, "center": 12, "other@base=random": 12}


# What does not matter


def test_values_depend_on_neither_batch_nor_order(shell) -> None:
    method = "grad-cam,rise@n_masks=16"
    shell.score("-o", "plain.db", method=method)
    backwards = [f"photos/{number}.png" for number in reversed(range(6))]
    for name, words, images in (("one.db", ["--batch-size", 1], "photos"), ("back.db", ["--batch-size", 7], backwards)):
        assert shell.score("-o", name, *words, images=images, method=method) == 0
        shell.assert_close(shell.values(name), shell.values("plain.db"))


def test_the_control_of_another_photo_depends_on_the_set_of_photos_alone(shell) -> None:
    shell.score("-o", "all.db")
    for number in range(6):
        shell.score("-o", f"{number}.db", "--shard", f"{number + 1}/6")
    merged = [f"{number}.db" for number in range(6)]
    assert shell("merge", *merged, "-o", "merged.db") == 0
    shell.assert_close(shell.values("merged.db"), shell.values("all.db"))


@pytest.mark.parametrize("parts", [2, 3])
def test_shards_are_disjoint_and_joined_they_are_the_whole(shell, parts: int) -> None:
    shell.score("-o", "all.db")
    names = [f"{part}.db" for part in range(1, parts + 1)]
    seen: list[str] = []
    for part, name in enumerate(names, 1):
        assert shell.score("-o", name, "--shard", f"{part}/{parts}") == 0
        seen += {image for image, _, _ in shell.values(name)}
    assert sorted(seen) == [f"{number}.png" for number in range(6)]
    assert shell("merge", *names, "-o", "merged.db") == 0
    assert "48 rows in merged.db" in shell.err
    shell.assert_close(shell.values("merged.db"), shell.values("all.db"))


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
def test_bounds_are_held_against_the_ends_of_the_interval(shell, words: list[str], code: int, said: str) -> None:
    assert shell.score(*words) == code
    assert ("FAIL" in shell.err) is (code == 1)
    assert said in shell.err
    assert "random" not in "".join(line for line in shell.err.splitlines() if line.startswith("FAIL"))


def test_a_mean_without_an_interval_meets_no_bound(shell) -> None:
    assert shell.score("--fail-under", "insertion@steps=4=0", images="photos/0.png") == 1
    assert "unknown (too few photos)" in shell.err


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
def test_a_bound_that_would_hold_nothing_is_refused(shell, bound: str, words: str) -> None:
    for option in ("--fail-under", "--fail-over"):
        assert shell.score(option, bound, "-o", "s.db") == 2
        assert words in shell.error
    assert not Path("s.db").exists()


def test_an_empty_shard_meets_no_bound(shell) -> None:
    content = hashlib.sha256(Path("photos/0.png").read_bytes()).hexdigest()
    own = int(content[:8], 16) % 2 + 1
    bound = ["--fail-under", "insertion@steps=4=0", "--shard"]
    assert shell.score(*bound, f"{3 - own}/2", images="photos/0.png") == 1
    assert "0 rows of 0 photos" in shell.err
    assert "nothing was scored" in shell.err


# Ground truth


def test_ground_truth_from_masks_is_scored_and_photos_without_it_say_so(shell) -> None:
    Path("masks").mkdir()
    for number in range(5):
        Image.fromarray(np.full((40, 40), 255, dtype=np.uint8)).save(f"masks/{number}.png")
    words = ["--truth", "masks", "--metric", "pointing-game,energy-pointing-game", "--format", "jsonl", "--no-controls"]
    assert shell.score(*words) == 0
    assert "ground truth of 5 of 6 photos" in shell.err
    found = {(row["image"], row["metric"]): (row["value"], row["status"]) for row in shell.rows}
    assert found["photos/0.png", "pointing-game"] == (1.0, "ok")
    assert found["photos/0.png", "energy-pointing-game"] == (pytest.approx(1.0), "ok")
    assert found["photos/5.png", "pointing-game"] == (None, "no-truth")


def test_metrics_that_need_what_is_not_there_are_refused_before_any_work(shell) -> None:
    assert shell.score("--metric", "pointing-game", "-o", "s.db") == 2
    assert "pointing-game needs ground truth" in shell.error
    assert "--truth DIR" in shell.error
    assert not Path("s.db").exists()


def test_a_sign_that_a_metric_cannot_read_is_refused_in_words(shell) -> None:
    Path("masks").mkdir()
    Image.fromarray(np.full((40, 40), 255, dtype=np.uint8)).save("masks/0.png")
    words = ["--truth", "masks", "--metric", "energy-pointing-game"]
    assert shell.score(*words, images="photos/0.png", method="grad-cam@relu=false") == 2
    assert "energy-pointing-game needs non-negative maps, but those of grad-cam@relu=false are signed" in shell.error
    assert "relu" in shell.error


# What goes wrong


def test_a_constant_map_keeps_its_status_and_gets_no_score(shell) -> None:
    Path("dead.py").write_text(DEAD)
    assert shell.score("--format", "jsonl", "--no-controls", "-o", "s.db", model="dead.py:dead") == 0
    assert {(row["value"], row["status"]) for row in shell.rows} == {(None, "constant")}
    assert shell.score("--no-controls", "-o", "s.db", model="dead.py:dead") == 0
    assert "6 photos complete before" in shell.err
    assert "has no deletion@steps=4 and insertion@steps=4 for 6 of 6 photos: map is constant, no score." in shell.out
    assert shell.score("--fail-under", "insertion@steps=4=0", "--no-controls", model="dead.py:dead") == 1


def test_a_broken_photo_stops_the_run_and_what_was_finished_is_kept(shell) -> None:
    Path("photos/3.png").write_bytes(b"no photo at all")
    assert shell.score("-o", "s.db") == 3
    assert "photos/3.png" in shell.error
    before = len(shell.stored("s.db"))
    shell.photo(3)
    assert shell.score("-o", "s.db") == 0
    assert len(shell.stored("s.db")) == 48 >= before
    shell.score("-o", "t.db")
    shell.assert_close(shell.values("s.db"), shell.values("t.db"))


def test_keep_going_names_what_failed_and_costs_no_other_photo_a_score(shell) -> None:
    for number in (1, 3, 4):
        Path(f"photos/{number}.png").write_bytes(b"no photo at all")
    assert shell.score("-o", "s.db", "--keep-going") == 4
    assert all(f"photos/{number}.png" in shell.err for number in (1, 3, 4))
    assert "24 rows of 6 photos" in shell.err
    assert "3 photos failed" in shell.err
    counts = Counter((row.image, row.method) for row in shell.stored("s.db").values())
    assert len(counts) == 3 * (1 + CONTROLS)
    assert set(counts.values()) == {2}


def test_who_lends_a_map_does_not_depend_on_shards_where_photos_are_broken(shell) -> None:
    Path("photos/2.png").write_bytes(b"no photo at all")
    shell.score("-o", "all.db", "--keep-going")
    for part in (1, 2, 3):
        shell.score("-o", f"{part}.db", "--keep-going", "--shard", f"{part}/3")
    assert shell("merge", "1.db", "2.db", "3.db", "-o", "merged.db") == 0
    shell.assert_close(shell.values("merged.db"), shell.values("all.db"))


def test_a_photo_that_is_not_there_is_lost_under_keep_going_and_fatal_without(shell) -> None:
    images = ["photos/0.png", "photos/1.png", "photos/nowhere.png"]
    assert shell.score("--keep-going", images=images) == 4
    assert "nowhere.png does not exist" in shell.err
    assert shell.score(images=images) == 3
    assert "nowhere.png does not exist" in shell.error


def test_nan_logits_are_the_models_fault(shell) -> None:
    Image.new("RGB", (40, 40), "white").save("photos/6.png")
    assert shell.score("-o", "s.db", model=f"{NET}:gives_nan") == 5
    assert "NaN or infinite logits for photos/6.png" in shell.error
    assert shell.score("-o", "s.db", "--keep-going", model=f"{NET}:gives_nan") == 4
    assert {Path(row.image).name for row in shell.stored("s.db").values()} == {f"{number}.png" for number in range(6)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--metric", "insertoin"], 2, "Did you mean insertion"),
        (["--metric", "deletion,deletion"], 2, "named twice"),
        (["--metric", "deletion@steps=0"], 2, "steps=0 cannot be used"),
        (["--shard", "0/2"], 2, "is not a shard"),
        (["--shard", "3/2"], 2, "is not a shard"),
        (["--shard", "1"], 2, "is not a shard"),
        (["--shard", "a/b"], 2, "is not a shard"),
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
def test_what_is_typed_wrongly_is_one_line(shell, words: list[str], code: int, said: str) -> None:
    images = {path: path.read_bytes() for path in (shell.folder / "photos").iterdir()}
    assert shell.score(*words) == code
    assert said in shell.error
    assert {path: path.read_bytes() for path in (shell.folder / "photos").iterdir()} == images


def test_without_photos_or_with_an_unknown_method_it_says_what_to_type(shell) -> None:
    assert shell("score") == 2
    assert "no photo is named" in shell.error
    assert shell.score(method="grad-cma") == 2
    assert "Did you mean grad-cam" in shell.error


# What follows


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_store_is_exported_with_the_columns_of_a_row(shell, form: str) -> None:
    shell.score("-o", "s.db")
    assert shell("export", "s.db", "-o", f"rows.{form}") == 0
    assert "48 rows in" in shell.err
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(Path("rows.csv").read_text())))
    elif form == "jsonl":
        rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table("rows.parquet").to_pylist()
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    values = {(Path(row["image"]).name, row["method"], row["metric"]): float(row["value"]) for row in rows}
    shell.assert_close(values, shell.values("s.db"))


def test_export_streams_to_stdout_and_selects(shell) -> None:
    shell.score("-o", "s.db")
    assert shell("export", "s.db", "--format", "jsonl", "--metric", "insertion@steps=4", "--no-controls") == 0
    assert {(row["method"], row["metric"]) for row in shell.rows} == {("grad-cam", "insertion@steps=4")}
    assert len(shell.rows) == 6


def test_a_report_is_written_from_a_scored_store(shell) -> None:
    shell.score("-o", "s.db")
    assert shell("report", "s.db", "-o", "report.html") == 0
    page = Path("report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "grad-cam" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert shell.score("-o", "bare.db", "--no-maps", "--no-curves") == 0
    assert shell("report", "bare.db", "-o", "bare.html") == 0
    assert shell("report", "bare.db", "-o", "bare.csv") == 2
    assert "For a table: xai export." in shell.error
    assert not Path("bare.csv").exists()


def test_a_folder_whose_results_are_in_a_store_names_the_store(shell) -> None:
    Path("my results").mkdir()
    shell.score("-o", "my results/s.db")
    for verb in ("verify", "bundle"):
        assert shell(verb, "my results") == 3
        assert f"Type: xai {verb} 'my results/s.db'" in shell.error
        assert shell(verb, "photos") == 3
        assert "Type:" not in shell.error


def test_the_process_can_be_stopped_and_says_so(shell) -> None:
    command = [
        sys.executable,
        "-m",
        "xaicli.cli.main",
        "score",
        "photos",
        "--model",
        shell.model,
        "--method",
        "rise@n_masks=200000",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("model "):
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert "terminated" in process.stderr.read()
    process.stderr.close()


def test_an_estimate_says_how_long_a_run_takes_and_keeps_nothing(shell) -> None:
    assert shell.score("-o", "s.db", "--estimate", "--format", "json") == 0
    [row] = json.loads(shell.out)
    assert (row["photos"], row["to do"], row["actors"]) == (6, 6, 1)
    assert float(row["seconds per photo"]) > 0
    assert "for 6 photos" in shell.err
    assert not Path("s.db").exists()
    assert shell.score("-o", "s.db") == 0
    assert shell.score("-o", "s.db", "--estimate", "--format", "json") == 0
    assert json.loads(shell.out)[0]["to do"] == 0


def test_an_estimate_of_photos_that_cannot_be_read_is_the_error_of_one(shell) -> None:
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(Path("photos/0.png").read_bytes()[:80])
    assert shell.score("--estimate", images="broken") == 3
    assert "a.png is not a readable photo" in shell.error
