"""`xai explain --steps --animate`: the block-wise flow of a transformer, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.attribution import Attribution
from xaicli.cli.main import main

VIT = """
import torch, xaicli
from torchvision.models.vision_transformer import VisionTransformer

def make():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = VisionTransformer(
            image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
        )
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return xaicli.classifier(network, resize=36, crop=32)
"""


@pytest.fixture
def words(tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("vit.py").write_text(VIT)
    return ["explain", str(photo_folder), "--limit", "2", "--model", "vit.py:make", "-o", "out"]


def test_a_strip_and_a_moving_picture_of_each_map(words: list[str]) -> None:
    assert main([*words, "--method", "daam,grad-cam", "--steps", "--animate", "gif"]) == 0
    made = {path.name for path in Path("out").iterdir()}
    for stem in ("a.daam", "b.daam"):
        assert {f"{stem}{ending}" for ending in (".steps.png", ".steps.gif", ".steps.npy", ".npy", ".png", ".json")} <= made
    assert not any("grad-cam.steps" in name for name in made)
    with Image.open("out/a.daam.steps.gif") as picture:
        assert picture.n_frames == 3
    attribution = Attribution.load("out/a.daam.json")
    assert attribution.steps is not None
    assert attribution.steps.shape == (3, 4, 4)
    assert np.array_equal(attribution.steps[-1], attribution.values)
    assert (np.diff(attribution.steps, axis=0) >= 0).all()


def test_pictures_of_steps_can_be_had_later_and_in_another_scale(words: list[str]) -> None:
    assert main([*words, "--method", "daam"]) == 0
    assert not Path("out/a.daam.steps.png").exists()
    changed = Path("out/a.daam.npy").stat().st_mtime_ns
    assert main([*words, "--method", "daam", "--steps"]) == 0
    assert Path("out/a.daam.npy").stat().st_mtime_ns == changed
    common = Path("out/a.daam.steps.png").read_bytes()
    assert main([*words, "--method", "daam", "--steps", "--step-scale", "each", "--animate", "webp"]) == 0
    assert Path("out/a.daam.steps.png").read_bytes() != common
    assert Path("out/a.daam.steps.webp").exists()


def test_each_target_of_the_top_k_has_its_own(words: list[str]) -> None:
    assert main([*words, "--method", "daam", "--target", "top2", "--steps"]) == 0
    assert len(list(Path("out").glob("a.daam.*.steps.png"))) == 2


def test_a_method_without_steps_is_refused_before_any_work(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--method", "grad-cam", "--steps"]) == 2
    assert "grad-cam has no steps to draw" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_file_in_place_of_a_kind_of_picture_is_refused_with_the_kind(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for file, kind in (("a.gif", "gif"), ("b.webp", "webp"), ("c.png", "gif")):
        assert main([*words, "--method", "daam", "--animate", file]) == 2
        assert f"'{file}' is not one of 'gif', 'webp'. Type --animate {kind} (xai explain --help)" in capsys.readouterr().err
