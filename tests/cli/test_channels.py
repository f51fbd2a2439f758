"""A network of four channels through the whole house: the gate, the store, the report, sheets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

NET = """
import torch, xaicli
from torch import nn

def make():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return xaicli.classifier(net.eval(), resize=None, crop=16)
"""
SUITE = """
model = "bands.py:make"
images = ["fields/"]
metrics = ["insertion@steps=4"]
channels = 4
window = "{window}"
mean = [0.1, 0.1, 0.1, 0.1]
std = [0.5, 0.5, 0.5, 0.5]
"""


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    Path("bands.py").write_text(NET)
    Path("fields").mkdir()
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 10_000, (4, 5, 5))
        np.save(f"fields/{number}.npy", np.kron(coarse, np.ones((1, 4, 4))).astype(np.uint16))
    return CommandLine(capsys)


def test_the_gate_takes_channels_and_windows_and_names_a_window_that_changed(xai: CommandLine) -> None:
    Path("xai.toml").write_text(SUITE.format(window="0:10000"))
    assert xai("baseline", "--trust") == 0, xai.err
    assert xai("check", "--trust") == 0, xai.err
    Path("xai.toml").write_text(SUITE.format(window="0:20000"))
    assert xai("check", "--trust") == 1
    assert "window" in xai.out + xai.err


def test_scores_sheets_and_reports_are_made_of_bands(xai: CommandLine) -> None:
    model = ["--model", "bands.py:make", "--window", "0:10000"]
    line = ["compare", "fields/", *model, "--method", "saliency,rise@n_masks=20", "--metric", "deletion@steps=4", "-o", "out"]
    assert xai(*line, "--bands", "4+2+1") == 0, xai.err
    assert Image.open("out/compare.png").mode == "RGB"
    assert xai("report", "out/compare.db", "-o", "report.html") == 0, xai.err
    assert "data:image/jpeg" in Path("report.html").read_text() or "/9j/" in Path("report.html").read_text()
    assert xai(*line, "--bands", "4+2+x") == 2
    assert "--bands 4+2+x" in xai.error


def test_own_maps_beside_the_photos_are_not_explained_again(xai: CommandLine) -> None:
    line = ["explain", "fields/", "--model", "bands.py:make", "--window", "0:10000", "--method", "saliency", "-o", "fields"]
    assert xai(*line) == 0, xai.err
    assert "fields/0.npy: values from 0 (black) to 10000 (white) (of each photo: its record's notes)" in xai.err
    before = sorted(Path("fields").iterdir())
    assert xai(*line, "--format", "json") == 0
    assert len(json.loads(xai.out)) == 3
    assert sorted(Path("fields").iterdir()) == before


def test_a_photo_of_other_bands_is_refused_with_both_numbers_and_what_to_type(xai: CommandLine) -> None:
    Image.new("RGB", (20, 20)).save("cat.png")
    assert xai("explain", "cat.png", "--model", "bands.py:make", "--method", "saliency") == 3
    assert "cat.png: a photo of 3 bands; expected 4" in xai.error
    assert "Name photos of 4 bands" in xai.error


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--window", "9:1"], 2, "Write 1:9"),
        (["--window", "wide"], 2, "expected LOW:HIGH, percentile, full or declared"),
        (["--channels", "4", "--mean", "0,0"], 2, "mean 0,0 has 2 numbers"),
        (["--channels", "3"], 2, "--channels 3, but bands.py:make takes 4 channels; expected --channels 4"),
        (["--input-order", "bgr"], 2, "input order bgr of 4 channels"),
        (["--input-scale", "0"], 2, "input scale 0"),
        (["--bands", "0"], 2, "--bands 0"),
    ],
)
def test_settings_that_cannot_be_are_one_line(xai: CommandLine, words: list[str], code: int, said: str) -> None:
    assert xai("explain", "fields/0.npy", "--model", "bands.py:make", "--method", "saliency", *words) == code
    assert said in xai.error


def test_what_a_photo_lost_on_its_way_is_said_on_the_terminal(xai: CommandLine) -> None:
    """Twelve bits in a file of sixteen look nearly black, and the record alone would say so."""
    Path("dark").mkdir()
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 40), dtype=np.uint16)
    Image.fromarray(pixels).save("dark/0.png")
    assert xai("explain", "dark", "--model", "tiny", "--method", "center") == 0
    assert "dark/0.png: " in xai.err
    assert "no value is above 4095: if white is that, as in photos of 12 bits, give --window 0:4095" in xai.err
