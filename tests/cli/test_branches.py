"""Of a network with parallel branches, the commands say which one is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.cli.main import main

NET = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5), nn.Linear(8, 3)

    def forward(self, photos):
        return self.head(torch.cat([self.left(photos).mean((2, 3)), self.right(photos).mean((2, 3))], dim=1))

def make():
    torch.manual_seed(0)
    return Two()
"""
MODEL = ("--model", "net.py:make", "--crop", "16", "--resize", "16")
SAID = "layer right is one of 2 parallel branches, and left is not in its map: name layer=left to see it"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(ord(name)).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(f"{name}.png")


def notes(stem: str) -> list[str]:
    found = json.loads(Path("out", f"{stem}.json").read_text())["notes"]
    assert isinstance(found, list)
    return found


def test_a_run_says_it_once_and_every_record_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "a.png", "b.png", *MODEL, "--method", "grad-cam,center", "-o", "out"]) == 0
    assert capsys.readouterr().err.count(SAID) == 1
    assert notes("a.grad-cam") == notes("b.grad-cam") == [SAID]
    assert notes("a.center") == []


@pytest.mark.parametrize("layer", ["left", "right+left"])
def test_nothing_is_said_of_a_layer_that_was_named_or_of_all_of_them(layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "a.png", *MODEL, "--method", f"grad-cam@layer={layer}", "-o", "out"]) == 0
    assert "parallel branches" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [("doctor",), ("list", "layers")])
def test_looking_at_the_network_says_it(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, *MODEL]) == 0
    told = capsys.readouterr()
    assert SAID in " ".join((told.out + told.err).split())
