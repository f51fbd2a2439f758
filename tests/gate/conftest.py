"""Suites over tiny networks and photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xaicli.gate.baseline import Baseline, make_baseline
from xaicli.gate.measure import ReadySuite, make_ready
from xaicli.gate.outcome import Outcome, run_against
from xaicli.gate.suite import read_suite
from xaicli.gate.verdict import Verdict

NET = """
import torch
from torch import nn

import xaicli


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.late = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        x = self.features(x)
        if self.training_is_broken:
            x = x * torch.nan
        return self.head(self.late(x).mean(dim=(2, 3)))

    training_is_broken = False


def net(seed=1, classes=4):
    generator = torch.Generator().manual_seed(seed)
    model = Net(classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return model


def make(**settings):
    return xaicli.classifier(net(), **{"resize": 32, "crop": 32, "layer": "late", **settings})


def other():
    return xaicli.classifier(net(seed=2), resize=32, crop=32, layer="late")


def earlier():
    return make(layer="features")


class Wrapped(nn.Module):
    def __init__(self, first=None):
        super().__init__()
        self.first, self.m = first, net()

    def forward(self, x):
        return self.m(x) if self.first is None else self.first(x) + self.m(x)


def wrapped():
    return xaicli.classifier(Wrapped(), resize=32, crop=32, layer="m.late")


def ensemble():
    return xaicli.classifier(Wrapped(net(seed=3)), resize=32, crop=32, layer="first.late")


def plain():
    return make(mean=(0, 0, 0), std=(1, 1, 1))


def fewer():
    return xaicli.classifier(net(classes=2), resize=32, crop=32, layer="late")
"""


def photo(path: Path, seed: int, size: int = 32) -> None:
    """A smooth photo of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)


def as_toml(table: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(text, value))}]"
        return f'"{value}"' if isinstance(value, str) else str(value)

    lines = [f"{key} = {text(value)}" for key, value in table.items() if key != "rules"]
    for rule in table.get("rules", []):
        lines += ["[[rule]]", *(f"{key.replace('_', '-')} = {text(value)}" for key, value in rule.items())]
    return "\n".join(lines) + "\n"


class Room:
    """A folder with a model file, photos and a suite, and the gate's calls on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "net.py").write_text(NET)
        for number in range(6):
            photo(folder / "photos" / f"{number}.png", number)
        self.suite()

    def suite(self, **table: Any) -> Path:
        """Write xai.toml; `metrics` are none unless asked for, to be quick."""
        path = self.folder / "xai.toml"
        path.write_text(as_toml({"model": "net.py:make", "images": ["photos/"], "metrics": [], **table}))
        return path

    def bench(self, **given: Any) -> ReadySuite:
        """The suite made ready; `model` is the name of a function in net.py."""
        model = given.pop("model", None)
        named = f"{self.folder}/net.py:{model}" if model else None
        return make_ready(read_suite(self.folder / "xai.toml"), trust=True, model=named, **given)

    def baseline(self, **given: Any) -> Baseline:
        return make_baseline(self.bench(**given))

    def check(self, baseline: Baseline, *, seed: int | None = None, **given: Any) -> Outcome:
        return run_against(self.bench(**given), baseline, seed=seed)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture
def find() -> Callable[..., Verdict]:
    """The one verdict of an outcome on something, of a method where it is named."""

    def one(outcome: Outcome, what: str, method: str | None = None) -> Verdict:
        found = [v for v in outcome.verdicts if v.what == what and method in (None, v.method)]
        assert len(found) == 1, [(v.what, v.method) for v in outcome.verdicts]
        return found[0]

    return one


@pytest.fixture
def new_photo() -> Callable[..., None]:
    return photo
