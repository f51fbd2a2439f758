"""Rows of scores over regions of class maps: each says which region, and its numbers are those of the region."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image

NET = """
import torch, xaicli
from torch import nn

class Colours(nn.Module):
    "The logits of a pixel: eight times its red, green and blue."
    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(8 * torch.eye(3)[:, :, None, None])
    def forward(self, inputs):
        return self.backbone(inputs)

def make():
    view = {"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Colours(), classes=["red", "green", "blue"], layer="backbone", **view)
"""
WORDS = ("--model", "net.py:make", "--method", "hirescam", "--metric", "deletion@steps=4", "--no-controls", "--format", "jsonl")


@pytest.fixture
def xai(capsys, tmp_path, monkeypatch):
    """Runs `xai` in a folder that holds net.py, mask.png, and a.png: a green part at the left, and two red ones on blue."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    Image.fromarray(photo()).save("a.png")
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:2] = 255
    Image.fromarray(mask).save("mask.png")
    return CommandLine(capsys)


def photo() -> np.ndarray:
    pixels = np.full((16, 16, 3), (30, 30, 60), dtype=np.uint8)
    pixels[:, :6, 1] = 200
    pixels[:4, 8:12, 0] = 220
    pixels[6:15, 8:15, 0] = 150
    return pixels


def probability(index: int, region: np.ndarray) -> float:
    """The mean softmax of a class over pixels (16, 16), bool."""
    logits = 8 * torch.from_numpy(photo()).float() / 255
    return float(logits.softmax(dim=2)[torch.from_numpy(region)][:, index].mean())


REGIONS = {
    "green": ("1@region=predicted", np.s_[:, :6]),
    "red@region=component": ("0@region=component", np.s_[6:15, 8:15]),
    "red@region=8:0:12:4": ("0@region=8:0:12:4", np.s_[0:5, 8:13]),
    "green@region=3:3": ("1@region=3:3", np.s_[3:4, 3:4]),
    "green@region=mask.png": ("1@region=mask.png~", np.s_[:2]),
    "top1": ("1@region=predicted", np.s_[:, :6]),
}


@pytest.mark.parametrize("target", REGIONS)
def test_a_row_names_the_region_and_its_first_point_is_the_region_s_probability(xai, target):
    name, place = REGIONS[target]
    assert xai("score", "a.png", *WORDS, "--target", target) == 0, xai.error
    [row] = [json.loads(line) for line in xai.out.splitlines()]
    assert row["target"].startswith(name)
    region = np.zeros((16, 16), dtype=bool)
    region[place] = True
    assert row["p0"] == pytest.approx(probability(int(name[0]), region), abs=1e-5)


def test_regions_of_one_class_are_rows_of_their_own_in_a_store(xai, tmp_path):
    for target in ("red", "red@region=component", "red-green@region=8:0:12:4"):
        assert xai("score", "a.png", *WORDS[:-2], "--target", target, "-o", "scores.db") == 0, xai.error
    assert xai("export", "scores.db", "--format", "csv") == 0
    rows = {row["target"]: row for row in csv.DictReader(io.StringIO(xai.out))}
    assert set(rows) == {"0@region=predicted", "0@region=component", "0-1@region=8:0:12:4"}
    assert len({row["definition"] for row in rows.values()}) == len({row["subject"] for row in rows.values()}) == 3
    assert xai("score", "a.png", *WORDS[:-2], "--target", "red@region=component", "-o", "scores.db") == 0
    assert xai("export", "scores.db", "--format", "csv") == 0
    assert len(list(csv.DictReader(io.StringIO(xai.out)))) == 3


def test_a_photo_without_the_class_is_named_and_the_others_are_scored(xai):
    Image.fromarray(np.full((16, 16, 3), (0, 0, 200), dtype=np.uint8)).save("b.png")
    assert xai("score", "a.png", "b.png", *WORDS, "--target", "red", "--keep-going") == 4
    assert [json.loads(line)["image"] for line in xai.out.splitlines()] == ["a.png"]
    assert "b.png: the region predicted of red is empty" in xai.err
