"""Heads for networks with real weights: one command trains, scores and writes the page, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from tools import classic_heads, heads_page
from tools.classic_heads import Classic, TrainedHead
from tools.heads_page import DROP, FIGURES, INSERTION, page, summary, verdict

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A folder of assets with a small network's weights, and the current folder with a place for results."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("weights", "tiny-imagenet"):
        (tmp_path / "assets" / name).mkdir(parents=True)
    rows = [f"{at},{name},{name},{at}" for at, name in enumerate(("blue", "green", "red"))]
    content = "\n".join(["index,wnid,name,imagenet1k_index", *rows])
    (tmp_path / "assets" / "tiny-imagenet" / "classes.csv").write_text(content)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.mobilenet_v2(weights=None, width_mult=0.25, num_classes=3).state_dict()
    save_file(state, tmp_path / "assets" / "weights" / "mobilenet_v2.safetensors")
    small = torchvision.models.mobilenet_v2
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, **given: small(**{**given, "width_mult": 0.25}))
    return tmp_path / "assets"


@pytest.mark.slow
def test_one_command_trains_scores_and_writes_the_page_and_then_has_nothing_left(assets, toy, tmp_path, monkeypatch, capsys):
    heads = (TrainedHead("t-tame", 1e-2), TrainedHead("l-cam", 1e-2))
    monkeypatch.setattr(classic_heads, "NETWORKS", (Classic("torchvision:mobilenet_v2", "MobileNetV2", heads),))
    words = ["--assets", str(assets), "--data", str(toy / "train"), "--val", str(toy / "val"), "--work", "w"]
    words += ["--limit", "4", "--epochs", "1", "--photos", "2", "--precision", "fp32"]
    assert classic_heads.main(words) == 0, capsys.readouterr().err
    [figures] = json.loads(FIGURES.read_text())
    assert (figures["network"], figures["scored"], list(figures["heads"])) == ("MobileNetV2", 2, ["t-tame", "l-cam"])
    assert figures["heads"]["t-tame"]["photos"] == 4
    assert set(figures["scores"][INSERTION]) == {"t-tame", "l-cam", "grad-cam", "center"}
    assert set(figures["scores"][DROP]["l-cam"]) == {"mean", "minus grad-cam", "minus center"}
    assert heads_page.PAGE.read_text() == page([figures])
    capsys.readouterr()
    assert classic_heads.main(words) == 0
    assert "epoch 1/1" not in capsys.readouterr().err
    assert json.loads(FIGURES.read_text()) == [figures]


def test_a_verdict_names_what_a_head_beats_and_what_it_does_not():
    own = {
        "mean": [0.4, 0.3, 0.5],
        "minus grad-cam": [-0.1, -0.2, -0.05],
        "minus center": [0.1, 0.05, 0.2],
        "minus gae": [0, -1, 1],
    }
    said = " ".join(verdict({"scores": {INSERTION: {"t-tame": own}}}, "t-tame").split())
    assert said == (
        "- `t-tame` is worse than `grad-cam` (difference -0.100 [-0.200, -0.050]), beats `center` "
        "(difference 0.100 [0.050, 0.200]) and cannot be told from `gae` (difference 0.000 [-1.000, 1.000]) on insertion."
    )


@pytest.mark.parametrize(("high", "told"), [(-0.05, True), (0.05, False)])
def test_the_first_sentence_says_that_no_head_is_as_good_as_grad_cam(high, told):
    heads = {"t-tame": {"minus grad-cam": [-0.1, -0.2, -0.05]}, "p-tame": {"minus grad-cam": [-0.1, -0.2, high]}}
    assert bool(summary([{"heads": heads, "scores": {INSERTION: heads}}])) is told


@pytest.mark.skipif(not (ROOT / FIGURES).is_file(), reason="nothing was measured")
def test_the_page_is_what_its_figures_give():
    assert (ROOT / heads_page.PAGE).read_text() == page(json.loads((ROOT / FIGURES).read_text()))
