"""RISE against a plain loop over its masks, and against the bare forward passes of the masked copies."""

from __future__ import annotations

import time

import torch

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, classifier, mobilenet, photos
from benchmarks.timing import ratios
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.passes.device import threads
from xaicli.passes.memory import batch_size_for
from xaicli.targets import DECISION, Targets

MASKS = 128
MASKS_OF_LOOP = 1024
TIMES_AS_FAST = 2.4


def measure(rounds: int) -> list[Figure]:
    figures = [over_a_plain_loop(mobilenet(), rounds)]
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        ratio, bare = compare(classifier("resnet50").with_masked_dtype(dtype), rounds)
        figures.append(Figure(f"RISE of {MASKS} masks on ResNet-50 over bare passes, {name}", "", tuple(ratio), 1.10))
        figures.append(Figure(f"one bare pass of a masked copy, {name}", "ms", tuple(1000 * each / MASKS for each in bare)))
    return figures


def over_a_plain_loop(network: Classifier, rounds: int) -> Figure:
    """Processor time of the loop that anybody would write, its masks at hand, over that of RISE, on one thread in float32."""
    photo, size = photos(1), batch_size_for(network.device, SIDE, SIDE)
    masks = torch.rand(size, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).to(photo.device)
    seeds, targets, rise = torch.tensor([1]), Targets.same(DECISION, 1), RISE(n_masks=MASKS_OF_LOOP)

    def loop() -> None:
        with torch.no_grad():
            for _ in range(MASKS_OF_LOOP // size):
                network.torch_module(photo * masks).softmax(dim=1)

    with threads(1):
        found, _ = ratios(loop, lambda: rise.attribute(network, photo, targets, seeds), rounds, time.process_time)
    what = f"a plain loop over RISE of {MASKS_OF_LOOP} masks on MobileNetV2, one thread, float32, processor time"
    return Figure(what, "", tuple(found), least=TIMES_AS_FAST)


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
