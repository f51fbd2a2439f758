"""A toy network of which it is known what decides, and photos for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xaicli

SIDE = 32


class Colours(nn.Module):
    """Each pixel's colours on both sides of grey, averaged over the photo, and a linear layer: what decides is the colour alone.

    The photos of `grey_photos` are nearly grey, patches are not; so HiResCAM, which is exact for such a network, marks the patch
    where a head reads it, and nothing else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 12, 1), nn.ReLU())
        self.head = nn.Linear(12, 5)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            directions = torch.randn(6, 3, generator=generator)
            self.features[0].weight.copy_(torch.cat([directions, -directions])[:, :, None, None])
            # Grey is below every unit's threshold, by less than a patch's colour is above it.
            self.features[0].bias.copy_(-0.5 * self.features[0].weight.sum(dim=(1, 2, 3)) + 0.02)
            self.head.weight.copy_(torch.randn(5, 12, generator=generator))
            self.head.bias.copy_(torch.randn(5, generator=generator) * 0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture
def colours() -> xaicli.Classifier:
    settings = {"mean": (0, 0, 0), "std": (1, 1, 1), "layer": "features"}
    return xaicli.classifier(Colours(), resize=(SIDE, SIDE), crop=None, **settings)


@pytest.fixture
def grey_photos(tmp_path: Path) -> Path:
    folder = tmp_path / "grey"
    folder.mkdir()
    for number in range(16):
        coarse = np.random.default_rng(number).integers(118, 138, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder
