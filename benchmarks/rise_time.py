"""RISE against the bare forward passes of the same masked copies: all that masks, queue and accumulator cost."""

from __future__ import annotations

import torch

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, classifier, photos
from benchmarks.timing import ratios
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.passes.memory import batch_size_for
from xaicli.targets import DECISION, Targets

MASKS = 128


def measure(rounds: int) -> list[Figure]:
    figures = []
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        ratio, bare = compare(classifier("resnet50").with_masked_dtype(dtype), rounds)
        figures.append(Figure(f"RISE of {MASKS} masks on ResNet-50 over bare passes, {name}", "", tuple(ratio), 1.10))
        figures.append(Figure(f"one bare pass of a masked copy, {name}", "ms", tuple(1000 * each / MASKS for each in bare)))
    return figures


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    """RISE, its clean pass included, and passes of a batch that is in place already, in the layout that is fastest."""
    inputs, seeds, targets = photos(1), torch.tensor([1]), Targets.same(DECISION, 1)
    rise = RISE(n_masks=MASKS)
    size = batch_size_for(inputs.device, SIDE, SIDE)
    batch = inputs * torch.rand(size, 1, SIDE, SIDE).to(inputs.device)
    batch = batch.to(memory_format=torch.channels_last)

    def bare() -> None:
        for _ in range(MASKS // size):
            network.masked(batch)

    return ratios(lambda: rise.attribute(network, inputs, targets, seeds), bare, rounds)
