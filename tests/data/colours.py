"""A classifier with known answers, as a user's own model file: which of red, green and blue a small square has."""

import torch
from torch import nn

import xaicli


class Colours(nn.Module):
    """Opponent colours, averaged: grey counts nothing, whatever its brightness, and black counts nothing either."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            for tensor in self.parameters():
                tensor.zero_()
            self.stem[0].weight[:3, :, 0, 0] = 1.5 * torch.eye(3) - 0.5
            self.stem[0].weight[3:6, :, 0, 0] = torch.eye(3)
            self.stem[0].weight[6, :, 0, 0] = 1 / 3
            self.body[0].weight[range(8), range(8)] = 1 / 9
            self.head.weight[:, :3] = 10 * torch.eye(3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 6 * self.head(self.body(self.stem(inputs)).mean(dim=(2, 3)))


def colours() -> object:
    return xaicli.classifier(
        Colours(), resize=(32, 32), crop=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), classes=["red", "green", "blue"]
    )


def coarser() -> object:
    """The same for another view, with another layer before: an auxiliary network with other colours and another size."""
    network = Colours()
    return xaicli.classifier(network, resize=(24, 24), crop=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def squares(count: int, seed: int, side: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photos (count, 3, 32, 32) of dark noise with one coloured square each, its class, and where it is, (count, 32, 32)."""
    generator = torch.Generator().manual_seed(seed)
    brightness = torch.rand(count, 1, 1, 1, generator=generator) * 0.5
    photos = torch.rand(count, 3, 32, 32, generator=generator) * brightness
    classes = torch.randint(3, (count,), generator=generator)
    places = torch.randint(32 - side, (count, 2), generator=generator)
    where = torch.zeros(count, 32, 32)
    for photo, (top, left) in enumerate(places.tolist()):
        square = slice(top, top + side), slice(left, left + side)
        photos[photo, :, square[0], square[1]] *= 0.2
        photos[photo, classes[photo], square[0], square[1]] = 0.9
        where[photo, square[0], square[1]] = 1
    return photos, classes, where
