"""`xai explain` as a user types it: what it writes, what it says, how it fails."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

from xaicli.attribution import Attribution

NET = Path(__file__).parents[1] / "data" / "net.py"
MODEL = f"{NET}:make"


class Shell(CommandLine):
    """Types `xai explain`."""

    def __call__(self, *words: object, model: str = MODEL) -> int:
        return super().__call__("explain", *words, "--model", model)


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_first_command_writes_map_overlay_and_record(xai: Shell, tmp_path: Path) -> None:
    assert xai("sample:hopper") == 0
    assert set(contents(tmp_path / "xai-out")) == {"hopper.grad-cam.npy", "hopper.grad-cam.png", "hopper.grad-cam.json"}
    record = json.loads((tmp_path / "xai-out/hopper.grad-cam.json").read_text())
    with Image.open(tmp_path / "xai-out/hopper.grad-cam.png") as picture:
        assert list(picture.size) == record["size"] == [512, 600]
    assert np.load(tmp_path / "xai-out/hopper.grad-cam.npy").dtype == np.float32
    assert record["image"] == "sample:hopper"
    assert record["status"] == "ok"
    assert "xai-out/hopper.grad-cam.png" in xai.out


def test_records_say_nothing_of_the_machine(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    xai(photo_folder / "a.jpg", "-o", tmp_path / "out")
    text = (tmp_path / "out/a.grad-cam.json").read_text()
    assert str(tmp_path) not in text
    assert str(NET.parent) not in text


def test_the_same_command_gives_the_same_bytes(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    words = [photo_folder, "--method", "grad-cam,rise@n_masks=32,random", "--sheet"]
    xai(*words, "-o", "one")
    first = contents(tmp_path / "one")
    xai(*words, "-o", "one", "--overwrite")
    assert contents(tmp_path / "one") == first
    assert len(first) == 4 * 3 * 3 + 1


@pytest.mark.parametrize("size", [1, 3, 32])
def test_batch_size_and_order_do_not_change_maps(xai: Shell, tmp_path: Path, photo_folder: Path, size: int) -> None:
    methods = ["--method", "grad-cam,rise@n_masks=32,random"]
    xai(photo_folder, *methods, "-o", "all")
    backwards = sorted(photo_folder.iterdir(), reverse=True)
    xai(*backwards, *methods, "-o", "sized", "--batch-size", size)
    for path in (tmp_path / "all").glob("*.npy"):
        np.testing.assert_allclose(np.load(tmp_path / "sized" / path.name), np.load(path), atol=1e-5, rtol=1e-5)


def test_running_again_makes_only_what_is_missing(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    xai(photo_folder)
    out = tmp_path / "xai-out"
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "b.grad-cam.json").unlink()
    assert xai(photo_folder) == 0
    changed = {path.name for path in out.iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"b.grad-cam.npy", "b.grad-cam.png", "b.grad-cam.json"}
    assert "3 of 4 maps complete before" in xai.err
    assert len(xai.out.splitlines()) == 5


def test_another_result_is_never_replaced_unawares(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    xai(photo_folder / "a.jpg", "--method", "rise@n_masks=8")
    before = contents(tmp_path / "xai-out")
    assert xai(photo_folder / "a.jpg", "--method", "rise@n_masks=8", "--seed", 1) == 2
    assert "seed 0 there, 1 here" in xai.error
    assert xai(photo_folder / "a.jpg", "--method", "rise@n_masks=8", "--precision", "fp32") == 2
    assert "precision auto there, fp32 here" in xai.error
    Image.new("RGB", (50, 50), "red").save(photo_folder / "a.jpg")
    assert xai(photo_folder / "a.jpg", "--method", "rise@n_masks=8") == 2
    assert "photo content" in xai.error
    assert contents(tmp_path / "xai-out") == before
    assert xai(photo_folder / "a.jpg", "--method", "rise@n_masks=8", "--seed", 1, "--overwrite") == 0
    assert contents(tmp_path / "xai-out") != before


def test_two_parameter_sets_of_one_method_stand_side_by_side(xai: Shell, tmp_path: Path) -> None:
    xai("sample:hopper", "--method", "rise@n_masks=8,rise@n_masks=16")
    assert {path.name for path in (tmp_path / "xai-out").glob("*.png")} == {
        "hopper.rise@n_masks=8.png",
        "hopper.rise@n_masks=16.png",
    }


def test_a_target_that_is_not_the_decision_stands_in_the_name(xai: Shell, tmp_path: Path) -> None:
    assert xai("sample:hopper", "--target", "four-poster") == 0
    assert (tmp_path / "xai-out/hopper.grad-cam.3.png").is_file()
    assert xai("sample:hopper", "--target", "tabby cat-four poster") == 0
    assert (tmp_path / "xai-out/hopper.grad-cam.0-3.png").is_file()


def test_the_top_three_are_three_maps_of_one_photo_and_complete_together(xai: Shell, tmp_path: Path) -> None:
    xai("sample:hopper", "--target", "top3", "--method", "grad-cam,rise@n_masks=16", "--sheet")
    assert len(list((tmp_path / "xai-out").glob("hopper.*.json"))) == 6
    xai("sample:hopper", "--target", "top3", "--method", "grad-cam,rise@n_masks=16")
    assert "6 of 6 maps complete before" in xai.err


def test_targets_from_a_file_are_matched_by_photo(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "targets.csv").write_text("target,image\n3,b.jpg\ntabby,a.jpg\n0-3,c.png\n1,d.jpg\n")
    assert xai(photo_folder, "--target", "@targets.csv", "--format", "csv") == 0
    rows = {row["image"]: row["target"] for row in csv.DictReader(io.StringIO(xai.out))}
    assert {Path(image).name: target for image, target in rows.items()} == {
        "a.jpg": "0",
        "b.jpg": "3",
        "c.png": "0-3",
        "d.jpg": "1",
    }


def test_a_target_file_that_forgets_a_photo_is_refused(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "targets.csv").write_text("image,target\na.jpg,3\n")
    assert xai(photo_folder, "--target", "@targets.csv") == 2
    assert "names no target for" in xai.error
    assert not (tmp_path / "xai-out").exists()


def test_json_and_json_lines_hold_the_same_rows(xai: Shell, photo_folder: Path) -> None:
    xai(photo_folder, "--format", "json")
    rows = json.loads(xai.out)
    xai(photo_folder, "--format", "jsonl")
    assert [json.loads(line) for line in xai.out.splitlines()] == rows
    assert len(rows) == 4
    assert all(0 < row["p"] <= 1 for row in rows)


def test_a_saved_attribution_reads_back(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    xai(photo_folder / "a.jpg")
    loaded = Attribution.load(tmp_path / "xai-out/a.grad-cam.json")
    np.testing.assert_array_equal(loaded.values, np.load(tmp_path / "xai-out/a.grad-cam.npy"))
    assert json.loads(loaded.record.to_json()) == json.loads((tmp_path / "xai-out/a.grad-cam.json").read_text())


def test_a_dry_run_writes_nothing_and_tells_the_cost(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    assert xai(photo_folder, "--method", "grad-cam,rise@n_masks=100", "--dry-run", "--format", "json") == 0
    rows = {row["method"]: row for row in json.loads(xai.out)}
    assert float(rows["rise@n_masks=100"]["passes"]) >= 400
    assert float(rows["grad-cam"]["passes"]) == 8
    assert not (tmp_path / "xai-out").exists()


def test_a_shared_scale_redraws_overlays_and_nothing_else(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    xai(photo_folder)
    own = contents(tmp_path / "xai-out")
    xai(photo_folder, "--scale", "shared")
    shared = contents(tmp_path / "xai-out")
    assert {name for name in own if own[name] != shared[name]} >= {"a.grad-cam.json", "b.grad-cam.json"}
    assert all(own[name] == shared[name] for name in own if name.endswith(".npy"))
    scales = {tuple(json.loads(shared[name])["look"]["scale"]) for name in shared if name.endswith(".json")}
    assert len(scales) == 1


def test_another_colour_map_redraws_what_is_complete(xai: Shell, tmp_path: Path) -> None:
    xai("sample:hopper")
    first = contents(tmp_path / "xai-out")
    xai("sample:hopper", "--colormap", "viridis")
    second = contents(tmp_path / "xai-out")
    assert first["hopper.grad-cam.npy"] == second["hopper.grad-cam.npy"]
    assert first["hopper.grad-cam.png"] != second["hopper.grad-cam.png"]


def test_photos_of_one_name_keep_their_folders(xai: Shell, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 40), "red" if folder == "a" else "blue").save(tmp_path / folder / "cat.png")
    xai("a", "b")
    assert (tmp_path / "xai-out/a/cat.grad-cam.png").is_file()
    assert (tmp_path / "xai-out/b/cat.grad-cam.png").is_file()


# Bad input: one line, the right exit code, nothing half-written.


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["missing.jpg"], 3, "missing.jpg does not exist"),
        (["empty/"], 3, "holds no photos"),
        (["text.jpg"], 3, "text.jpg"),
        (["zero.jpg"], 3, "zero.jpg"),
        (["truncated.jpg"], 3, "truncated"),
        (["bomb.png"], 3, "bomb.png"),
        ([], 2, "no photo is named"),
        (["sample:hopper", "--method", "gradcma"], 2, 'no method "gradcma". Did you mean grad-cam?'),
        (["sample:hopper", "--method", "rise@n_mask=100"], 2, 'rise has no parameter "n_mask". Did you mean n_masks?'),
        (
            ["sample:hopper", "--method", "rise@n_masks=many"],
            2,
            "rise: n_masks=many cannot be used; expected auto | int at least 2",
        ),
        (["sample:hopper", "--method", "rise@n_masks=1"], 2, "rise: n_masks=1 cannot be used"),
        (["sample:hopper", "--method", "grad-cam,grad_cam"], 2, "grad-cam is named twice"),
        (["sample:hopper", "--method", "grad-cam@layer=features.9"], 2, 'no layer "features.9"'),
        (["sample:hopper", "--method", "grad-cam@layer=head"], 2, "head has no spatial grid"),
        (["sample:hopper", "--target", "4"], 2, "target 4 is out of range"),
        (["sample:hopper", "--target", "top9"], 2, "target top9"),
        (["sample:hopper", "--target", "tabbi"], 2, 'no class is called "tabbi"; expected'),
        (["sample:hopper", "--target", "crane"], 2, '"crane" is the name of 2 classes: 1, 2'),
        (["sample:hopper", "--target", "@nowhere.csv"], 2, "there is no file nowhere.csv"),
        (["sample:hopper", "--colormap", "jett"], 2, 'no colour map is called "jett"'),
        (["sample:hopper", "--mean", "1,2"], 2, "mean 1,2 has 2 numbers"),
        (["sample:hopper", "--format", "xml"], 2, "--format"),
        (["sample:hopper", "--methd", "rise"], 2, "--method"),
        (["sample:hopper", "--device", "tpu"], 2, "tpu"),
        (["sample:hopper", "--frame", "7"], 3, "but no frame 7"),
        (["sample:hopper", "-o", "occupied"], 3, "occupied cannot be written"),
    ],
)
def test_bad_input_gets_one_clear_line(
    xai: Shell, tmp_path: Path, photo_folder: Path, words: list[str], code: int, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("this is not a photo")
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "truncated.jpg").write_bytes((photo_folder / "a.jpg").read_bytes()[:700])
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "occupied").touch()
    assert xai(*words) == code
    assert says in xai.error
    assert xai.out == ""
    assert not list(tmp_path.rglob("xai-out/*"))


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and has next to no content."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("resnet5o", 2, "resnet50"),
        (f"{NET}:gives_tuple", 2, "could be logits"),
        (f"{NET}:raises", 5, "no such table"),
        (f"{NET}:missing", 2, "missing"),
        ("nowhere.py:make", 3, "nowhere.py"),
        ("onnx:nowhere.onnx", 3, "nowhere.onnx"),
    ],
)
def test_a_model_that_cannot_be_used_gets_one_clear_line(xai: Shell, tmp_path: Path, model: str, code: int, says: str) -> None:
    assert xai("sample:hopper", model=model) == code
    assert says in xai.error
    assert not (tmp_path / "xai-out").exists()


def test_a_softmax_inside_is_undone_and_said(xai: Shell, tmp_path: Path) -> None:
    assert xai("sample:hopper", "-o", "plain") == 0
    assert xai("sample:hopper", "-o", "soft", model=f"{NET}:gives_softmax") == 0
    assert "softmax" in xai.err
    plain = json.loads((tmp_path / "plain/hopper.grad-cam.json").read_text())
    soft = json.loads((tmp_path / "soft/hopper.grad-cam.json").read_text())
    assert soft["decision"]["probability"] == pytest.approx(plain["decision"]["probability"], abs=1e-5)


def test_nan_logits_write_nothing_for_that_photo(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    Image.new("RGB", (40, 40), "white").save(photo_folder / "bb.png")
    assert xai(photo_folder, model=f"{NET}:gives_nan") == 5
    assert "NaN" in xai.error
    assert "bb.png" in xai.error
    assert {path.name for path in (tmp_path / "xai-out").glob("*.json")} == {"a.grad-cam.json", "b.grad-cam.json"}
    assert xai(photo_folder, "--keep-going", model=f"{NET}:gives_nan") == 4
    assert len(list((tmp_path / "xai-out").glob("*.json"))) == 4


def test_one_bad_photo_stops_the_run_after_what_came_before(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    (photo_folder / "bad.jpg").write_bytes((photo_folder / "b.jpg").read_bytes()[:600])
    assert xai(photo_folder) == 3
    assert "bad.jpg" in xai.error
    assert {path.name for path in (tmp_path / "xai-out").glob("*.json")} == {"a.grad-cam.json", "b.grad-cam.json"}


def test_keep_going_does_the_others_and_says_which_failed(xai: Shell, tmp_path: Path, photo_folder: Path) -> None:
    (photo_folder / "bad.jpg").write_bytes((photo_folder / "b.jpg").read_bytes()[:600])
    assert xai(photo_folder, photo_folder / "gone.jpg", "--keep-going") == 4
    assert "bad.jpg" in xai.err
    assert "gone.jpg" in xai.err
    assert "2 photos failed" in xai.err
    assert len(list((tmp_path / "xai-out").glob("*.json"))) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write anywhere")
def test_a_read_only_folder_is_noticed_before_any_work(xai: Shell, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert xai("sample:hopper", "-o", locked) == 3
    assert "cannot be written" in xai.error


BANDS_NET = """
import torch, xaicli
from torch import nn

def make():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return xaicli.classifier(net.eval(), resize=None, crop=16)
"""


def test_bands_are_explained_each_and_drawn_as_they_are_chosen(xai: Shell, tmp_path: Path) -> None:
    (tmp_path / "bands.py").write_text(BANDS_NET)
    bands = np.random.default_rng(0).integers(0, 10_000, (4, 20, 20)).astype(np.uint16)
    np.save(tmp_path / "field.npy", bands)
    given, model = ["field.npy", "--window", "0:10000", "-o", "out"], "bands.py:make"
    line = [*given, "--method", "saliency@channels=each", "--format", "json"]
    assert xai(*line, "--bands", "3+2+1", model=model) == 0, xai.err
    assert "4 channels, window 0:10000" in xai.err
    stem = tmp_path / "out" / "field.saliency@channels=each"
    channels = np.load(f"{stem}.channels.npy")
    assert channels.shape == (4, 16, 16)
    assert np.allclose(np.load(f"{stem}.npy"), channels.sum(axis=0), atol=1e-6)
    assert Image.open(f"{stem}.channels.png").mode == "RGB"
    record = json.loads(Path(f"{stem}.json").read_text())
    assert record["look"]["bands"] == [3, 2, 1]
    assert record["view"]["window"] == "0:10000"
    before = Path(f"{stem}.png").read_bytes()
    assert xai(*line, "--bands", "4", model=model) == 0
    assert Path(f"{stem}.png").read_bytes() != before
    assert xai(*line, "--bands", "5", model=model) == 2
    assert "--bands 5 of a photo of 4 bands" in xai.error
    assert xai(*given, "--method", "saliency", "--channels", "3", model=model) == 2
    assert "--channels 3, but bands.py:make takes 4 channels" in xai.error


def test_five_targets_are_shown_each_by_its_name_and_probability(xai: Shell) -> None:
    assert xai("sample:hopper", "--target", "top5", "--format", "json", model="tiny") == 0
    rows = json.loads(xai.out)
    assert len({row["target_name"] for row in rows}) == len({row["map"] for row in rows}) == 5
    assert {row["decision"] for row in rows} == {rows[0]["target_name"]}
    chances = [row["target_probability"] for row in rows]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == rows[0]["p"]
    assert xai("sample:hopper", "--target", "top5", model="tiny") == 0
    table = xai.out.splitlines()
    assert "target_name" in table[0]
    for line, row in zip(table[1:], rows, strict=True):
        assert row["target_name"] in line
        assert f"{row['target_probability']:.2f}" in line
