"""Regions that a target names, on the photo and on the class map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from torch import nn

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.methods.grad_cam import GradCAM
from xaicli.runs.target_choice import choose_targets


class Colours(nn.Module):
    """A class map at half the photo's resolution: background 0.2, red, green."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 3, 2, stride=2, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2) / 4)

    def forward(self, inputs):
        features = self.backbone(inputs)
        return torch.cat([torch.full_like(features[:, :1], 0.2), features[:, :2]], dim=1) * 10


@pytest.fixture
def model():
    view = {"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Colours(), classes=["background", "red", "green"], **view)


@pytest.fixture
def photo():
    """Black, with a red 8 x 8 square top left, a red 2 x 2 square bottom right, a green 4 x 4 square bottom left."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8, :8, 0] = pixels[14:, 14:, 0] = pixels[12:, :4, 1] = 255
    return Image.fromarray(pixels)


def region_of(photo, model, target, method="hirescam"):
    [one] = xaicli.explain(photo, model, method=method, target=target)
    return one


@pytest.mark.parametrize(
    ("target", "name", "cells"),
    [
        ("top1", "1@region=predicted", 17),
        ("red@region=component", "1@region=component", 16),
        ("green", "2@region=predicted", 4),
        ("green@region=0:12:1:13", "2@region=0:12:1:13", 1),
        ("green@region=0:12:3.5:15.5", "2@region=0:12:3.5:15.5", 4),
        ("red@region=5:5", "1@region=5:5", 1),
    ],
)
def test_a_region_is_fixed_on_the_clean_photo(photo, model, target, name, cells):
    """HiResCAM at features that a channel's class reads alone is 10 x the colour in the region, over the region's cells."""
    one = region_of(photo, model, target)
    assert one.record.target == name
    colour = 0 if name.startswith("1") else 1
    seen = np.asarray(photo)[::2, ::2, colour] > 0
    assert one.values.sum() == pytest.approx(10.0 * min(1.0, seen.sum() / cells) if "predicted" in name else 10.0)
    assert (one.values > 0).sum() == cells


@pytest.mark.parametrize("target", ["top1", "green", "red@region=component", "red@region=0:0:5:5"])
def test_a_method_that_begins_with_the_clean_photo_fixes_the_region_in_that_pass(photo, model, target, monkeypatch):
    region_of(photo, model, target, "grad-cam")  # looks for the layer
    passes = []
    with model.module.register_forward_hook(lambda *_: passes.append(1)):
        one = region_of(photo, model, target, "grad-cam")
        assert len(passes) == 1
        monkeypatch.setattr(GradCAM, "clean_pass_first", False)
        other = region_of(photo, model, target, "grad-cam")
        assert len(passes) == 1 + 2
    assert one.values.tobytes() == other.values.tobytes()
    assert one.record.to_json() == other.record.to_json()
    np.testing.assert_array_equal(one.extras["region"], other.extras["region"])


def test_a_mask_file_is_a_region_named_by_its_content(photo, model, tmp_path):
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:4, :4] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    one = region_of(photo, model, f"red@region={tmp_path / 'mask.png'}")
    assert (one.values > 0).sum() == 4
    assert one.record.target.startswith("1@region=mask.png~")
    assert str(tmp_path) not in one.record.to_json()


def test_empty_and_unfit_regions_are_refused(photo, model, tmp_path):
    blue = Image.fromarray(np.full((16, 16, 3), (0, 0, 255), dtype=np.uint8))
    with pytest.raises(InputError, match=r"the region predicted of red is empty.*predicted, component"):
        region_of(blue, model, "red")
    with pytest.raises(UsageError, match="several classes"):
        choose_targets("top2@region=predicted", model)
    with pytest.raises(UsageError, match=r"top5@region=predicted names several classes; expected top1 or one class"):
        choose_targets("top5", model)
    Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"the mask small.png has 8 x 8 pixels"):
        region_of(photo, model, f"red@region={tmp_path / 'small.png'}")


def test_what_is_no_region_is_refused_with_those_there_are(photo, model):
    with pytest.raises(UsageError, match=r'no region "5:a"; expected predicted, component, a mask'):
        region_of(photo, model, "red@region=5:a")
    with pytest.raises(UsageError, match=r"--target CLASS@region=predicted"):
        choose_targets("positive", model)


def test_a_method_that_cuts_the_photo_is_refused(photo, model):
    with pytest.raises(UsageError, match=r"ucag explains slices.*--method grad-cam"):
        region_of(photo, model, "red", method="ucag")


def test_a_classifier_of_whole_photos_has_no_regions():
    made = xaicli.classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), resize=None, crop=8)
    with pytest.raises(UsageError, match="needs a class map"):
        choose_targets("1@region=predicted", made)


def test_black_boxes_and_masks_follow_the_mean_probability(photo, model):
    one = region_of(photo, model, "green")
    shares = np.exp([2.0, 0.0, 10.0])
    assert one.record.target_probability == pytest.approx(shares[2] / shares.sum(), abs=1e-5)
    [rise] = xaicli.explain(photo, model, method="rise@n_masks=64", target="green")
    assert rise.record.target == "2@region=predicted"


def test_what_moves_the_photo_is_refused_since_the_region_stays(photo, model):
    with pytest.raises(UsageError, match="flip moves the photo, and the region that is explained stays"):
        xaicli.score(photo, model, "grad-cam", metric="stability", controls=False)


def test_the_command_explains_and_compares_regions(capsys, tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    source = Path(__file__).read_text()
    net = source[source.index("class Colours") : source.index("@pytest.fixture")]
    view = '{"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}'
    made = f'\n\ndef make():\n    return xaicli.classifier(Colours(), classes=["background", "red", "green"], **{view})\n'
    (tmp_path / "net.py").write_text(f"import torch\nfrom torch import nn\nimport xaicli\n\n\n{net}{made}")
    photo.save(tmp_path / "a.png")
    xai = CommandLine(capsys)
    words = ("a.png", "--model", "net.py:make", "--target", "green", "--method", "grad-cam,rise@n_masks=16")
    assert xai("explain", *words, "--sheet") == 0
    assert "a map of 3 classes" in xai.err
    assert (tmp_path / "xai-out" / "a.grad-cam.2@region=predicted.png").is_file() or xai.out
    assert xai("explain", *words, "--sheet") == 0
    assert xai("score", *words, "--metric", "deletion@steps=4", "--no-controls", "--format", "jsonl") == 0
    rows = [json.loads(line) for line in xai.out.splitlines()]
    assert {row["target"] for row in rows} == {"2@region=predicted"}
    assert all(row["p0"] > 0.9 > row["value"] for row in rows)


@pytest.fixture
def command(capsys, tmp_path, monkeypatch, photo):
    """A folder with the photo `a.png` and the network `net.py:make`, and the command line."""
    monkeypatch.chdir(tmp_path)
    source = Path(__file__).read_text()
    net = source[source.index("class Colours") : source.index("@pytest.fixture")]
    view = '{"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}'
    made = f'\n\ndef make():\n    return xaicli.classifier(Colours(), classes=["background", "red", "green"], **{view})\n'
    (tmp_path / "net.py").write_text(f"import torch\nfrom torch import nn\nimport xaicli\n\n\n{net}{made}")
    photo.save(tmp_path / "a.png")
    return CommandLine(capsys)


def outlined(path):
    """Whether a picture has the colours of an outline."""
    found = {tuple(colour) for colour in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}
    return {(255, 255, 255), (20, 20, 20)} <= found


def test_overlays_and_sheets_show_the_outline_also_when_they_are_drawn_again(command, tmp_path):
    words = ("a.png", "--model", "net.py:make", "--target", "green", "--method", "grad-cam", "-o", "out")
    assert command("explain", *words, "--sheet") == 0
    overlay = tmp_path / "out" / "a.grad-cam.2@region=predicted.png"
    if not overlay.is_file():
        overlay = next((tmp_path / "out").glob("a.grad-cam*.png"))
    first = overlay.read_bytes()
    assert outlined(overlay)
    assert outlined(tmp_path / "out" / "sheet.png")
    region = np.load(next((tmp_path / "out").glob("*.region.npy")))
    np.testing.assert_array_equal(region, np.pad(np.ones((2, 2), dtype=bool), ((6, 0), (0, 6))))
    assert command("explain", *words, "--colormap", "viridis") == 0
    assert outlined(overlay)
    assert overlay.read_bytes() != first
    assert command("explain", *words, "--scale", "shared") == 0
    assert outlined(overlay)


def test_the_sheet_of_a_comparison_shows_the_outline(command, tmp_path, photo):
    Image.fromarray(np.asarray(photo)[:, ::-1].copy()).save(tmp_path / "b.png")
    words = ("--model", "net.py:make", "--method", "hirescam", "--metric", "deletion@steps=4", "--no-controls")
    assert command("compare", "a.png", "b.png", *words, "-o", "cmp") == 0
    assert outlined(tmp_path / "cmp" / "compare.png")


def test_the_gate_scores_a_region_and_names_it_where_a_rule_fails(command, tmp_path, photo):
    Image.fromarray(np.asarray(photo)[:, ::-1].copy()).save(tmp_path / "b.png")
    (tmp_path / "xai.toml").write_text(
        'images = ["a.png", "b.png"]\nmodel = "net.py:make"\nmethods = ["hirescam"]\nmetrics = ["deletion@steps=4"]\n'
    )
    assert command("baseline", "--trust") == 0, command.err
    assert command("check", "--trust") == 0, command.err
    net = tmp_path / "net.py"
    net.write_text(net.read_text().replace("features[:, :2]], dim=1)", "2 * features[:, :2] * features.mean()], dim=1)"))
    assert command("check", "--trust") == 1, command.err
    [page] = tmp_path.rglob("check.html")
    assert "red@region=predicted" in page.read_text()


def test_the_arrays_beside_a_map_are_no_maps_of_their_own(command):
    words = ("a.png", "--model", "net.py:make")
    assert command("explain", *words, "--method", "hirescam", "-o", "out") == 0
    assert command("score", *words, "--maps", "out", "--metric", "deletion@steps=4", "--no-controls", "--format", "jsonl") == 0
    assert [json.loads(line)["method"] for line in command.out.splitlines()] == ["hirescam"]


def test_a_photo_without_the_class_is_that_photos_fault_alone(command, tmp_path):
    Image.fromarray(np.full((16, 16, 3), (0, 0, 255), dtype=np.uint8)).save(tmp_path / "blue.png")
    words = ("blue.png", "a.png", "--model", "net.py:make", "--target", "red", "--method", "hirescam", "-o", "out")
    assert command("explain", *words) == 3
    assert "blue.png: the region predicted of red is empty" in command.err
    assert command("explain", *words, "--keep-going") == 4
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["a.hirescam.1@region=predicted.json"]


def test_a_mask_of_another_size_than_one_photo_is_that_photos_fault_alone(command, tmp_path, photo):
    photo.resize((32, 32)).save(tmp_path / "large.png")
    Image.new("L", (16, 16), 255).save(tmp_path / "mask.png")
    words = (
        "large.png",
        "a.png",
        "--model",
        "net.py:make",
        "--target",
        "red@region=mask.png",
        "--method",
        "hirescam",
        "-o",
        "out",
    )
    assert command("explain", *words, "--keep-going") == 4, command.err
    assert "large.png: the mask mask.png has 16 x 16 pixels, but the photo 32 x 32" in command.err
    assert len(list((tmp_path / "out").glob("a.hirescam.*.json"))) == 1


@pytest.mark.parametrize(
    ("region", "code", "line"),
    [
        ("900:900", 3, "a.png: the region 900:900 of red is empty"),
        ("Predicted", 0, ""),
        ("1.5.2:3", 3, "the mask 1.5.2:3 does not exist; expected a mask of the photo's size"),
        ("none.png", 3, "the mask none.png does not exist; expected a mask of the photo's size"),
        ("net.py", 3, "the mask net.py is not a readable photo"),
        ("small.png", 3, "a.png: the mask small.png has 8 x 8 pixels"),
        ("black.png", 3, "the region black.png of red is empty"),
        ("1:2:3", 2, 'no region "1:2:3"'),
        ("10:10:5:12", 2, "the box 10:10:5:12 ends before it begins; expected x0:y0:x1:y1 with x0 below x1 and y0 below y1"),
        ("5:12:10:10", 2, "Type --target CLASS@region=5:10:10:12"),
        ("-1:3", 2, 'no region "-1:3"'),
        ("", 2, "@region= names no region"),
        ("blob", 2, 'no region "blob"; expected predicted, component'),
    ],
)
def test_a_bad_region_costs_one_line(command, tmp_path, region, code, line):
    Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    Image.new("L", (16, 16), 0).save(tmp_path / "black.png")
    found = command("explain", "a.png", "--model", "net.py:make", "--method", "hirescam", "--target", f"red@region={region}")
    assert found == code, command.err
    assert line in command.err
    assert "fault in xai" not in command.err


def test_what_needs_one_number_per_class_refuses_a_class_map(command, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.open(tmp_path / "a.png").save(tmp_path / "data" / name / "a.png")
    assert command("train", "t-tame", "--model", "net.py:make", "--data", "data", "-o", "t.safetensors") == 2
    assert "t-tame needs one number per class, but net.py:make gives a class map" in command.err
    assert command("bank", "data", "--model", "net.py:make", "-o", "b.safetensors") == 2
    assert "a bank of features needs one number per class" in command.err
    assert command("explain", "a.png", "--model", "net.py:make", "--outputs", "values") == 3
    assert "gives a class map, 3 numbers a pixel, which are no values" in command.err
    assert command("explain", "a.png", "--model", "tiny", "--method", "rise@score=dice") == 2
    assert command("score", "a.png", "--model", "tiny", "--method", "grad-cam", "--metric", "insertion@output=iou") == 2
    assert "needs a class map, and tiny gives one number a class" in command.err


def test_doctor_examines_a_class_map(command):
    command("doctor", "--model", "net.py:make", "--format", "json")
    findings = {row["what"]: row for row in json.loads(command.out)}
    assert findings["layer"]["finding"] == "backbone: 3 channels on a grid of 8 x 8"
    assert findings["logits"]["state"] == "ok"
