"""`xai aggregate` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

import xaicli

NET = Path(__file__).parents[1] / "data" / "net.py"
MODEL = ("--model", f"{NET}:make")


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(6):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((44, 40), Image.Resampling.BICUBIC).save(f"photos/{number}.png")
    return CommandLine(capsys)


def test_a_table_a_page_a_picture_and_all_numbers(xai: CommandLine) -> None:
    assert xai("aggregate", "photos", *MODEL, "--method", "grad-cam,saliency") == 0
    assert xai.out.splitlines()[0].split()[:5] == ["method", "class", "photos", "zero", "position"]
    groups = json.loads(Path("xai-out/aggregate.json").read_text())["groups"]
    every = [group for group in groups if group["class"] == "(all)"]
    assert [group["photos"] + group["zero"] for group in every] == [6, 6]
    for method in ("grad-cam", "saliency"):
        classes = [group for group in groups if group["method"] == method and group["class"] != "(all)"]
        assert sum(group["photos"] + group["zero"] for group in classes) == 6
        assert Path(f"xai-out/aggregate.{method}.png").is_file()
    page = Path("xai-out/aggregate.html").read_text()
    assert "around object" not in page
    assert str(Path.cwd()) not in page


def test_the_mean_map_is_the_mean_of_the_written_maps(xai: CommandLine) -> None:
    assert xai("aggregate", "photos", *MODEL, "--method", "saliency", "--grid", "32") == 0
    maps = [np.load(path).astype(np.float64) for path in sorted(Path("xai-out").glob("*.saliency.npy"))]
    [every, *_] = json.loads(Path("xai-out/aggregate.json").read_text())["groups"]
    assert np.allclose(every["mean"], np.abs(maps).mean(axis=0), rtol=1e-3)
    assert np.allclose(every["std"], np.abs(maps).std(axis=0, ddof=1), rtol=1e-3)


def test_running_again_makes_no_map_again_and_says_the_same(xai: CommandLine) -> None:
    assert xai("aggregate", "photos", *MODEL) == 0
    told, times = xai.out, {path: path.stat().st_mtime_ns for path in Path("xai-out").glob("*.npy")}
    assert xai("aggregate", "photos", *MODEL) == 0
    assert xai.out == told
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_boxes_align_the_maps(xai: CommandLine) -> None:
    lines = ["file,label,x0,y0,x1,y1", *(f"{number}.png,,{4 + number},4,30,36" for number in range(6))]
    Path("boxes.csv").write_text("\n".join(lines))
    assert xai("aggregate", "photos", *MODEL, "--truth", "boxes.csv", "--format", "json") == 0
    [every, *_] = json.loads(xai.out)
    assert 0 < every["on object"] <= 1
    assert 0 < every["area"] < 1
    assert every["object radius"] >= 0
    assert "around object" in Path("xai-out/aggregate.html").read_text()


def test_channels_are_summed_up_where_the_method_has_them(xai: CommandLine) -> None:
    words = ("--method", "input-x-gradient@channels=each", "--format", "json")
    assert xai("aggregate", "photos", *MODEL, *words) == 0
    [every, *_] = json.loads(xai.out)
    assert sum(every["channels"]) == pytest.approx(1, abs=1e-3)


def test_the_python_function_gives_the_arrays_and_writes_nothing(xai: CommandLine) -> None:
    made = xaicli.aggregate("photos", f"{NET}:make", "grad-cam")
    assert made.groups["grad-cam", "(all)"].absolute.mean.shape == (16, 16)
    assert not Path("xai-out").exists()
    assert xai("aggregate", "photos", *MODEL, "--format", "json") == 0
    assert json.loads(xai.out) == made.rows


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--target", "top2"), 2, "several maps of a photo"),
        (("--truth", "nowhere"), 3, "no ground truth at nowhere"),
        (("--grid", "1"), 2, "not in the range"),
        (("--method", "gradcma"), 2, "Did you mean grad-cam?"),
    ],
)
def test_bad_words_are_refused_in_one_line(xai: CommandLine, words: tuple[str, ...], code: int, said: str) -> None:
    assert xai("aggregate", "photos", *MODEL, *words) == code
    assert said in xai.error
    assert not Path("xai-out/aggregate.json").exists()


def test_a_broken_photo_ends_the_run_or_is_left_out(xai: CommandLine) -> None:
    Path("photos/3.png").write_bytes(b"no picture")
    assert xai("aggregate", "photos", *MODEL) == 3
    assert xai("aggregate", "photos", *MODEL, "--keep-going", "--format", "json") == 4
    assert json.loads(xai.out)[0]["photos"] <= 5


def test_results_never_replace_a_file_of_others(xai: CommandLine) -> None:
    Path("xai-out").mkdir()
    Path("xai-out/aggregate.grad-cam.png").write_text("mine")
    assert xai("aggregate", "photos", *MODEL) == 2
    assert Path("xai-out/aggregate.grad-cam.png").read_text() == "mine"


def test_a_dry_run_writes_nothing(xai: CommandLine) -> None:
    assert xai("aggregate", "photos", *MODEL, "--dry-run") == 0
    assert "grad-cam" in xai.out
    assert not Path("xai-out").exists()
