"""A detector made of the bundled classifier `tiny`: the boxes are windows on its features, which it classifies one by one."""

import itertools

import torch
from torch import nn

import xaicli

SIDE, CELL = 128, 8
"""Of the input, and of a cell of the features, in pixels."""
WINDOWS = (6, 8, 10)
"""Sides of windows in cells."""


class Windows(nn.Module):
    """The features of a whole photo, and for each window the classes that its mean features speak for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        cells = SIDE // CELL
        corners = itertools.product(WINDOWS, range(0, cells, 2), range(0, cells, 2))
        self.places = [(x, y, x + side, y + side) for side, y, x in corners if max(x, y) + side <= cells]
        self.register_buffer("boxes", torch.tensor(self.places) * float(CELL))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = self.network.stages(self.network.stem(inputs))
        means = [features[:, :, top:bottom, left:right].mean(dim=(2, 3)) for left, top, right, bottom in self.places]
        return self.network.head(torch.stack(means, dim=1)).softmax(dim=2)


def make() -> xaicli.Classifier:
    tiny = xaicli.load_classifier("tiny", device="cpu")
    network = Windows(tiny.torch_module.network)

    def decode(scores):
        return network.boxes.expand(len(scores), -1, -1), scores

    view = {"resize": SIDE, "mean": tiny.view.mean, "std": tiny.view.std}
    return xaicli.detector(network, decode=decode, classes=tiny.classes, layer="network.stages", **view)
