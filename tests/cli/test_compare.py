"""`xai compare` as typed in a shell: tables, sheets, several models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

VIT = """
import torch
from timm.models.vision_transformer import VisionTransformer

import xaicli


def make():
    torch.manual_seed(0)
    net = VisionTransformer(32, 8, num_classes=4, embed_dim=16, depth=2, num_heads=2)
    return xaicli.classifier(net, resize=32, crop=32)
"""
STORE, SHEET = Path("xai-out/compare.db"), Path("xai-out/compare.png")


def compare(shell, *words: object, images: object = "photos", model: str = "", method: str = "grad-cam,layer-cam") -> int:
    return shell("compare", images, "--model", model or shell.model, "--method", method, "--metric", shell.metrics, *words)


@pytest.fixture
def two_models(shell) -> str:
    pytest.importorskip("timm")
    Path("vit.py").write_text(VIT)
    return f"{shell.model},vit.py:make"


def test_a_comparison_has_a_table_a_sheet_and_a_store(shell) -> None:
    assert compare(shell) == 0
    for label in ("grad-cam", "layer-cam", "random", "center", "other@base=grad-cam"):
        assert f"\n{label} " in shell.out
    assert "6 photos; the mean and its 95 % interval (Student's t, corrected for skewness)." in shell.out
    assert f"sheet {SHEET}" in shell.err
    assert {method for _, method, _ in shell.values(str(STORE))} >= {"grad-cam", "layer-cam", "random", "center"}
    with Image.open(SHEET) as sheet:
        assert sheet.height > 6 * 100


def test_running_again_makes_only_what_is_missing(shell) -> None:
    assert compare(shell, images="photos/[0-2].png") == 0
    first = shell.stored(str(STORE))
    assert compare(shell) == 0
    # A photo whose partner of the control `other` is a new one has that row made again.
    assert "complete before" in shell.err
    second = shell.stored(str(STORE))
    assert all(second[key].value == row.value for key, row in first.items() if not row.method.startswith("other@"))
    assert "6 photos; the mean" in shell.out


def test_the_same_numbers_as_xai_score(shell) -> None:
    assert compare(shell) == 0
    assert shell.score("-o", "s.db", method="grad-cam,layer-cam") == 0
    shell.assert_close(shell.values(str(STORE)), shell.values("s.db"))


def test_rise_draws_as_many_masks_as_its_error_needs_unless_it_is_told_how_many(shell) -> None:
    assert compare(shell, "--format", "json", "--no-controls", images="photos/0.png", method="RISE@grid=2,rise@n_masks=16") == 0
    [group] = json.loads(shell.out)["groups"]
    assert {cell["method"] for cell in group["cells"]} == {"rise@grid=2@n_masks=auto", "rise@n_masks=16"}
    assert "masks until the map's estimated error is 0.3, at most 4000" in shell.err
    chosen = "rise@n_masks=auto@grid=2@tol=0.9"
    assert compare(shell, "--no-controls", images="photos/0.png", method=chosen) == 0
    assert "estimated error" not in shell.err


def test_several_models_have_a_table_and_a_sheet_each_of_the_methods_that_run_on_them(shell, two_models: str) -> None:
    assert compare(shell, "--format", "json", model=two_models, method="grad-cam,daam,rise@n_masks=16") == 0
    groups = {Path(group["model"]).name: group for group in json.loads(shell.out)["groups"]}
    methods = {name: {cell["method"] for cell in group["cells"] if not cell["control"]} for name, group in groups.items()}
    assert methods == {
        "net.py:make": {"grad-cam", "rise@n_masks=16"},
        "vit.py:make": {"grad-cam", "daam", "rise@n_masks=16"},
    }
    assert "not for net.py:make: daam" in shell.err
    sheets = sorted(path.name.split("-")[0] for path in STORE.parent.glob("*.png"))
    assert sheets == ["compare.net.py_make", "compare.vit.py_make"]
    assert not SHEET.exists()


def test_each_of_several_models_scores_as_it_does_alone(shell, two_models: str) -> None:
    assert compare(shell, "--no-controls", "-o", "both", model=two_models) == 0
    for number, model in enumerate(two_models.split(",")):
        assert compare(shell, "--no-controls", "-o", f"{number}", model=model) == 0
    both = {row.key: row.value for row in shell.stored("both/compare.db").values()}
    alone = {row.key: row.value for number in range(2) for row in shell.stored(f"{number}/compare.db").values()}
    assert both == pytest.approx(alone, abs=1e-5)


def test_a_method_that_runs_on_none_of_the_models_is_refused(shell, two_models: str) -> None:
    assert compare(shell, model=two_models, method="lfi-cam") == 2
    assert "error: lfi-cam" in shell.err
    assert not STORE.exists()


def test_a_model_named_twice_is_one(shell) -> None:
    assert compare(shell, "--no-controls", model=f"{shell.model},{shell.model}", method="grad-cam") == 0
    assert shell.out.count("grad-cam") == 1
    assert not list(STORE.parent.glob("compare.net*.png"))
    assert SHEET.is_file()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method", "grad-cam", "--weights", "w.pth"], "--weights with 2 models; expected one"),
        (["--method", "grad-cam", "--classes", "c.txt"], "--classes with 2 models; expected one"),
        ([], "no methods are named; expected --method A,B"),
        (["--method", "rise@"], '"@" in "rise@" is no parameter'),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(shell, words: list[str], line: str) -> None:
    assert shell("compare", "photos", "--model", f"{shell.model},other.py:make", *words) == 2
    assert line in shell.err
    assert not STORE.exists()


def test_an_empty_name_among_models_is_refused(shell) -> None:
    assert compare(shell, model=f"{shell.model},") == 2
    assert "has an empty name" in shell.err


def test_a_photo_that_fails_is_named_and_the_others_are_compared(shell) -> None:
    Path("photos/9.png").write_bytes(b"no photo")
    assert compare(shell) == 3
    assert "9.png is not a readable photo" in shell.err
    assert compare(shell, "--keep-going") == 4
    assert "6 photos; the mean" in shell.out
    assert "1 photo failed" in shell.err
