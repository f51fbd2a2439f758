"""Detectors with known answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import xaicli
from xaicli.network.classifier import Classifier

RED, GREEN = (0.0, 0.0, 4.0, 4.0), (4.0, 2.0, 8.0, 8.0)
"""Where the hand-made detector looks for a class, on inputs of 8 x 8 pixels."""
CLASSES = ("red", "green")


class HandMade(nn.Module):
    """Two fixed boxes: the score of the first, class red, is the mean red inside it, that of the second the mean green."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        features = self.backbone(inputs)
        red, green = features[:, 0, :4, :4].mean(dim=(1, 2)), features[:, 1, 2:, 4:].mean(dim=(1, 2))
        scores = torch.stack([torch.stack([red, 0 * red], 1), torch.stack([0 * green, green], 1)], 1)
        return {"scores": scores.clamp(0, 1), "boxes": inputs.new_tensor([RED, GREEN]).expand(len(inputs), 2, 4)}


def decoded(output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return output["boxes"], output["scores"]


def with_objectness(output: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The score as the objectness, beside a score of 1: the similarity to a box is then its score."""
    boxes, scores = decoded(output)
    return boxes, (scores > -1) * torch.eye(2), scores.amax(dim=2)


def hand_made(**options: object) -> Classifier:
    options = {"decode": decoded, "resize": 8, "classes": CLASSES} | options
    return xaicli.detector(HandMade(), **options)  # type: ignore[arg-type]


class LookAlike(nn.Module):
    """Outputs as Ultralytics' networks give them: (B, 4 + C, N), centres, sizes and scores of one box a cell of a stride of 8."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, 1),
        )
        self.box, self.cls = nn.Conv2d(16, 4, 1), nn.Conv2d(16, classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.backbone(inputs).relu()
        rows, columns = features.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        box = self.box(features)
        centre, size = torch.stack([x, y]) * 8 + box[:, :2], 24 * (0.3 * box[:, 2:]).exp()
        return torch.cat([centre, size, (3 * self.cls(features)).sigmoid()], dim=1).flatten(2)


def ultralytics(output: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and scores of outputs (B, 4 + C, N)."""
    centre, size, scores = output[:, :2], output[:, 2:4], output[:, 4:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=1).transpose(1, 2), scores.transpose(1, 2)


def look_alike(**options: object) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LookAlike()
    options = {"decode": ultralytics, "resize": (64, 96), "classes": ["cat", "dog", "bus"]} | options
    return xaicli.detector(network, **options)  # type: ignore[arg-type]
