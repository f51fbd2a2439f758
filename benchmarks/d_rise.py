"""D-RISE against the bare passes of a detector over the same masked copies.

The same, since a detector's work depends on what it sees: the head of a Faster R-CNN runs on as many proposals as are left, and
of photos behind random masks those are half as many again as of noise.
"""

from __future__ import annotations

import dataclasses

import torch
from torchvision.models import get_model

import xaicli
from benchmarks.figures import Figure
from benchmarks.networks import device
from benchmarks.timing import ratios
from xaicli.methods.rise.d_rise import DRISE
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.targets import TargetRule, Targets

MASKS = 64
BOXES = 5


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"):
        ratio, bare = compare(detector(name), rounds)
        figures.append(Figure(f"D-RISE of {MASKS} masks on {name} over bare passes", "", tuple(ratio), 1.10))
        figures.append(Figure(f"one bare pass of a masked copy, {name}", "ms", tuple(1000 * each / MASKS for each in bare)))
    return figures


def detector(name: str) -> Classifier:
    """A detector of torchvision with random weights, and five of its proposals as the boxes that are explained."""
    torch.manual_seed(0)
    made = xaicli.detector(get_model(name, weights=None, weights_backbone=None).eval().requires_grad_(False), device=device())
    with torch.inference_mode():
        proposals = made.proposals(photo(made))
    with torch.inference_mode(False):
        best = proposals.confidence[0].clone().topk(BOXES).indices
        fixed = FixedBoxes(
            proposals.boxes[0].clone()[best],
            torch.ones_like(best),
            proposals.scores[0].clone()[best],
            made.decoding.floor,  # type: ignore[union-attr]
        )
    return made.for_boxes(fixed, tuple(map(str, range(BOXES))))


def photo(network: Classifier) -> torch.Tensor:
    """An input (1, 3, H, W)."""
    return torch.randn(1, 3, *network.view.size, generator=torch.Generator().manual_seed(1)).to(network.device)


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    """D-RISE, its clean pass included, and passes of its batches of masked copies, which are in place already."""
    inputs, seeds = photo(network), torch.tensor([1])
    targets = Targets((TargetRule(index=0, boxes=True),), network.outputs)
    method = DRISE(n_masks=MASKS)
    batches: list[torch.Tensor] = []

    def kept(batch: torch.Tensor) -> object:
        batches.append(batch.clone(memory_format=torch.preserve_format))
        return network.forward(batch)

    method.attribute(dataclasses.replace(network, forward=kept), inputs, targets, seeds)
    # The first is the photo itself.
    masked = batches[1:]
    assert sum(map(len, masked)) == MASKS

    def bare() -> None:
        with torch.inference_mode():
            for batch in masked:
                network.torch_module(batch)

    return ratios(lambda: method.attribute(network, inputs, targets, seeds), bare, rounds)
