"""Training of the detector of drawn shapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tools.drawn.cell_detector import CELLS, KINDS, CellDetector, centres
from tools.drawn.scenes import Scene

BATCH = 32


def wanted(scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """The kinds (C, h, w) of the cells in the middle of a thing, the sides (4, h, w) of its box, and which cells those are."""
    kinds, sides, inside = torch.zeros(len(KINDS), CELLS, CELLS), torch.ones(4, CELLS, CELLS), torch.zeros(CELLS, CELLS)
    centre = centres()
    for kind, box in zip(scene.kinds, scene.boxes, strict=True):
        left, top, right, bottom = (place * CELLS for place in box)
        middle = torch.tensor([(left + right) / 2, (top + bottom) / 2])[:, None, None]
        near = (centre - middle).abs().amax(dim=0) <= 0.3 * (right - left)
        kinds[kind][near], inside[near] = 1, 1
        ends = torch.stack([centre[0] - left, centre[1] - top, right - centre[0], bottom - centre[1]])
        sides[:, near] = ends[:, near].clamp_min(0.1)
    return kinds, sides, inside


def loss_of(output: tuple[Tensor, Tensor], kinds: Tensor, sides: Tensor, inside: Tensor) -> Tensor:
    """Focal loss of the kinds (Lin et al., 2017), and the distance of the logarithms of the sides."""
    logits, found = output
    cross = functional.binary_cross_entropy_with_logits(logits, kinds, reduction="none")
    focal = ((logits.sigmoid() - kinds).abs() ** 2 * cross).sum() / inside.sum().clamp_min(1)
    off = ((found.log() - sides.log()).abs() * inside[:, None]).sum() / inside.sum().clamp_min(1)
    return 2 * focal + off


def train(scenes: list[Scene], steps: int) -> CellDetector:
    """The detector, trained from seed 0."""
    torch.manual_seed(0)
    made = CellDetector().train()
    inputs = torch.stack([scene.pixels for scene in scenes])
    targets = [torch.stack(parts) for parts in zip(*map(wanted, scenes), strict=True)]
    adam = torch.optim.AdamW(made.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 5e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(scenes), (BATCH,))
        loss = loss_of(made(inputs[rows]), *(part[rows] for part in targets))
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return made.eval()


def found(detector: CellDetector, scenes: list[Scene]) -> float:
    """The share of things whose middle cell says their kind with more than 0.3."""
    with torch.inference_mode():
        scores = detector(torch.stack([scene.pixels for scene in scenes]))[0].sigmoid()
    right = []
    for scores_of, scene in zip(scores, scenes, strict=True):
        for kind, (left, top, right_end, bottom) in zip(scene.kinds, scene.boxes, strict=True):
            cell = scores_of[:, int((top + bottom) / 2 * CELLS), int((left + right_end) / 2 * CELLS)]
            right.append(bool(cell.argmax() == kind and cell[kind] > 0.3))
    return sum(right) / len(right)
