"""The cost of a recipe is counted on a step of its own, and the run at real size keeps the losses on its way."""

from __future__ import annotations

import argparse
import json

import pytest
import torchvision

from tools import imagenet_recipes
from tools.imagenet_recipes import RECIPES, ImageNetRecipe, stride_1

RESNET = torchvision.models.ResNet


def small(name, **given):
    return RESNET(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)


@pytest.mark.slow
def test_one_command_counts_and_runs_and_then_has_nothing_left(toy, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torchvision.models, "get_model", small)
    monkeypatch.setattr(torchvision.models, "resnet50", lambda **given: small("resnet50"))
    monkeypatch.setattr(imagenet_recipes, "write_tables", lambda: None)
    one = ImageNetRecipe("l-cam", "resnet50")
    for name, value in {"ALL": (one,), "RUNS": (one,), "SETTLED": 4}.items():
        monkeypatch.setattr(imagenet_recipes, name, value)
    words = ["--data", str(toy / "train"), "--work", "w", "--steps", "3", "--batch", "4", "--precision", "fp32"]
    assert imagenet_recipes.main(words) == 0, capsys.readouterr().err
    stored = json.loads(RECIPES.read_text())
    [counted] = stored["recipes"]
    assert (counted["network"], counted["epochs"], counted["batch"]) == ("ResNet-50", 26, 64)
    # A step of the head passes through the network three times: as it is, masked, and back to the mask.
    assert counted["flop"] == pytest.approx(stored["ordinary"], rel=0.2)
    [run] = stored["runs"]
    assert len(run["trace"]) == 3
    capsys.readouterr()
    assert imagenet_recipes.main(words) == 0
    assert "GFLOP" not in capsys.readouterr().err
    assert json.loads(RECIPES.read_text()) == stored


def test_lfi_cam_is_trained_on_the_network_that_the_page_shows(tmp_path):
    code = stride_1(argparse.Namespace(work=tmp_path), 7).read_text()
    assert "num_classes=7" in code
    found = {}
    exec(compile(code, "net.py", "exec"), found)
    assert found["resnet50_stride_1"]().conv1.stride == (1, 1)
