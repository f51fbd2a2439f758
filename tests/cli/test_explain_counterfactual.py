"""`xai explain --method boundary`: the photo on the boundary itself, of a network that can be inverted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import main
from PIL import Image

import xaicli
from xaicli.attribution import Attribution

INVERTIBLE = '''
import torch
import xaicli
from torch import nn


class Coupling(nn.Module):
    """Red changes the other two colours, then these change red; both additions can be taken back."""

    def __init__(self):
        super().__init__()
        self.forth, self.back = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        others = x[:, 1:] + self.forth(x[:, :1]).tanh()
        return torch.cat([x[:, :1] + self.back(others).tanh(), others], dim=1)

    def inverse(self, y):
        red = y[:, :1] - self.back(y[:, 1:]).tanh()
        return torch.cat([red, y[:, 1:] - self.forth(red).tanh()], dim=1)


class Invertible(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Coupling() for _ in range(3))
        self.head = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.flatten(1))

    def inverse(self, features):
        x = features.view(-1, 3, 8, 8)
        for block in reversed(self.blocks):
            x = block.inverse(x)
        return x


def make():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return xaicli.classifier(Invertible(), resize=8, crop=8, classes=["cat", "dog", "hen", "bee"])
'''


@pytest.fixture
def line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(INVERTIBLE)
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 20).convert("RGB").save("a.png")
    return ["explain", "a.png", "--model", "net.py:make", "-o", "out", "-q"]


def test_the_photo_on_the_boundary_is_written_and_drawn(line):
    assert main([*line, "--method", "boundary@space=invertible@parts=true"]) == 0
    stem = Path("out/a.boundary@parts=true@space=invertible")
    attribution = Attribution.load(Path(f"{stem}.json"), Image.open("a.png"))
    network = xaicli.load_classifier("net.py:make", device="cpu")
    changed = attribution.extras["counterfactual"]
    assert changed.shape == (3, 8, 8)
    numbers = attribution.record.extras
    there = network(network.view.normalise(torch.from_numpy(changed))[None])[0]
    own, rival = attribution.record.decision.index, int(numbers["rival"])
    assert rival != own
    # What is drawn has colours from 0 to 1 alone, and the record says how far from the boundary that leaves it.
    assert float(there[own] - there[rival]) == pytest.approx(numbers["clipped_margin"], abs=1e-5)
    inputs = network.view.prepare(Image.open("a.png").convert("RGB"))
    start = network(inputs[None])[0]
    if ((changed > 0) & (changed < 1)).all():
        assert abs(numbers["clipped_margin"]) < 1e-3 * float(start[own] - start[rival])
    assert numbers["distance"] > 0
    with Image.open(f"{stem}.counterfactual.png") as picture:
        assert picture.width > 3 * 360


def test_without_clipping_both_classes_are_as_likely(line):
    network = xaicli.load_classifier("net.py:make", device="cpu")
    photo = np.full((8, 8, 3), 128, dtype=np.uint8)
    [attribution] = xaicli.explain(photo, network, "boundary@space=invertible@parts=true")
    changed = attribution.extras["counterfactual"]
    assert (changed > 0).all()
    assert (changed < 1).all()
    shares = network(network.view.normalise(torch.from_numpy(changed))[None])[0].softmax(dim=0)
    own, rival = attribution.record.decision.index, int(attribution.record.extras["rival"])
    assert float(shares[own]) == pytest.approx(float(shares[rival]), rel=1e-3)


def test_the_picture_replaces_no_file_of_others(line):
    Path("out").mkdir()
    picture = Path("out/a.boundary@parts=true@space=invertible.counterfactual.png")
    Image.new("RGB", (3, 3)).save(picture)
    before = picture.read_bytes()
    assert main([*line, "--method", "boundary@space=invertible@parts=true"]) == 2
    assert picture.read_bytes() == before


def test_without_parts_no_picture_is_made(line):
    assert main([*line, "--method", "boundary@space=invertible"]) == 0
    assert not list(Path("out").glob("*counterfactual*"))


def test_a_network_without_an_inverse_is_refused_in_one_line(line, capfd):
    Path("net.py").write_text(INVERTIBLE.replace("def inverse(self, features)", "def backwards(self, features)"))
    assert main([*line, "--method", "boundary@space=invertible"]) == 2
    said = capfd.readouterr().err
    assert "no method inverse(features)" in said
    assert len(said.strip().splitlines()) == 1
