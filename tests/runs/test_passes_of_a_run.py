"""How many passes the photos of a run take: what is known of the network's layers is looked up once, not for each photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectors import hand_made
from PIL import Image
from torch import nn

import xaicli
from xaicli.network.classifier import Classifier


class Segmenter(nn.Module):
    """Two classes a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(inputs).relu())


class Mean(Segmenter):
    """Two classes."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).mean(dim=(2, 3))


def model(kind: str) -> Classifier:
    if kind == "boxes":
        return hand_made()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Mean() if kind == "class" else Segmenter()
    return xaicli.classifier(network, resize=None, crop=8, classes=["grey", "grass"])


def photos(count: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(60, 250, (count, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in pixels]


def passes(classifier: Classifier, count: int, **words: object) -> int:
    """Inputs that the network takes in a run over `count` photos."""
    seen: list[int] = []
    hook = classifier.torch_module.register_forward_pre_hook(lambda part, args: seen.append(len(args[0])))
    try:
        xaicli.explain(photos(count), classifier, **words)  # type: ignore[arg-type]
    finally:
        hook.remove()
    return sum(seen)


@pytest.mark.parametrize(
    ("kind", "target", "each"),
    [("class", "top1", 1), ("region", "grass@region=0:0:8:8", 1), ("boxes", "box:0", 2)],
)
def test_a_further_photo_of_a_list_takes_its_own_passes_alone(kind: str, target: str, each: int) -> None:
    """Grad-CAM takes one; boxes are found in a clean pass of their own before it. Layers are looked up for the first."""
    words = {"method": "grad-cam", "target": target}
    alone = passes(model(kind), 1, **words)
    assert alone > each
    assert passes(model(kind), 4, **words) == alone + 3 * each


@pytest.mark.parametrize(("kind", "target"), [("region", "grass@region=0:0:8:8"), ("boxes", "box:0")])
def test_layers_that_are_known_are_not_looked_up_in_a_second_run(kind: str, target: str) -> None:
    classifier = model(kind)
    words = {"method": "grad-cam,layer-cam", "target": target}
    first = passes(classifier, 2, **words)
    assert passes(classifier, 2, **words) == 2 * 2 * (1 if kind == "region" else 2) < first
