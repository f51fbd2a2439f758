"""A detector of drawn shapes: convolutions, then for each cell the scores of all kinds and a box, as FCOS has it.

`python -m tools.drawn` trains it. With the weights that it writes it is explained as any detector of one's own:

    xai explain scene.png --model tools/drawn/cell_detector.py:make --weights detector.safetensors --target box:0 --method d-rise
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import xaicli

SHAPES = ("circle", "square", "triangle")
KINDS = tuple(f"{colour} {shape}" for colour in ("red", "blue", "yellow") for shape in SHAPES)
SIDE, CELL = 64, 4
"""Of the input, and of a cell of the features, in pixels."""
CELLS = SIDE // CELL


class CellDetector(nn.Module):
    """Scores of all kinds (B, C, h, w), and boxes (B, 4, h, w): from each cell to left, top, right, bottom, in cells."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *block(3, 24, stride=2), *block(24, 48, stride=2), *block(48, 64), *block(64, 64), *block(64, 64)
        )
        self.kinds, self.sides = nn.Conv2d(64, len(KINDS), 1), nn.Conv2d(64, 4, 1)
        for layer, value in ((self.kinds, -4.0), (self.sides, 0.7)):
            assert layer.bias is not None
            nn.init.constant_(layer.bias, value)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(inputs)
        return self.kinds(features), self.sides(features).exp()


def block(width: int, wider: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(width, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]


def centres() -> Tensor:
    """The centre (x, y) of each cell in cells, (2, CELLS, CELLS)."""
    places = torch.arange(CELLS) + 0.5
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([x, y])


def decode(output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) in pixels and scores (B, N, C)."""
    kinds, sides = output
    centre = centres().to(kinds)
    boxes = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], dim=1) * CELL
    return boxes.flatten(2).transpose(1, 2), kinds.sigmoid().flatten(2).transpose(1, 2)


def make() -> xaicli.Classifier:
    """The detector before training, for `--model tools/drawn/cell_detector.py:make --weights FILE`."""
    half = (0.5, 0.5, 0.5)
    return xaicli.detector(
        CellDetector(), decode=decode, resize=SIDE, mean=half, std=half, classes=KINDS, layer="features", confidence=0.3
    )
