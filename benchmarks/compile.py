"""`--engine compile` against torch's own passes: how much faster, what compiling costs, and from how many passes on that pays.
On a GPU (CUDA graphs) also RISE of 8,000 masks, and RISE over bare passes in bf16.

Wall-clock time on the device that is there.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable

import torch

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, classifier, photos, settled
from benchmarks.timing import ratios, seconds
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.passes.converted import MADE
from xaicli.passes.engine import engine_for
from xaicli.passes.memory import batch_size_for
from xaicli.targets import DECISION, Targets

NETWORKS = ("mobilenet_v2", "resnet50", "vit_b_32")
MANY = 10_000_000
ENOUGH = 20
"""Batches in a measurement."""
MASKS, BATCH = 8000, 256
SECONDS, OVER_BARE = 1.5, 1.2
"""What the masks may take on a GPU, and RISE over bare passes."""


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in NETWORKS:
        for dtype in (torch.float32, torch.bfloat16):
            own = dataclasses.replace(settled(classifier(name)), expected_passes=MANY, masked_dtype=dtype)
            figures += of_network(own, dtype, rounds)
    return [*figures, *on_a_gpu(rounds)] if torch.cuda.is_available() else figures


def of_network(own: Classifier, dtype: torch.dtype, rounds: int) -> list[Figure]:
    """Passes by torch over compiled ones, what compiling costs in an empty cache, and the passes until it has paid."""
    size = BATCH if own.device.type == "cuda" else batch_size_for(own.device, SIDE, SIDE)
    batch = photos(1) * torch.rand(size, 1, SIDE, SIDE).to(own.device)
    MADE.clear()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        cost = seconds(lambda: passes(own, "compile", batch, 1)())
        plain, fast = (passes(own, engine, batch, ENOUGH) for engine in ("torch", "compile"))
        found, taken = ratios(plain, fast, rounds)
    about = f"{own.name}, {str(dtype).removeprefix('torch.')}, batches of {size}"
    figures = [Figure(f"passes by torch over compiled ones, {about}", "", tuple(found))]
    figures.append(Figure(f"compiling, {about}", "s", (cost,)))
    saved = [(ratio - 1) * each / (ENOUGH * size) for ratio, each in zip(found, taken, strict=True)]
    pays = tuple(cost / gain for gain in saved if gain > 0)
    return [*figures, Figure(f"passes until compiling has paid, {about}", "", pays)] if pays else figures


def passes(own: Classifier, engine: str, batch: torch.Tensor, count: int) -> Callable[[], None]:
    network = dataclasses.replace(own, engine=engine)
    run = engine_for(network, batch[:1], MANY, exact=own.masked_dtype == torch.float32)

    def work() -> None:
        for _ in range(count):
            run.masked(batch)

    return work


def on_a_gpu(rounds: int) -> list[Figure]:
    """ResNet-50 in bf16 with batches of 256, by torch and compiled."""
    figures = []
    seeds, targets, rise = torch.tensor([1]), Targets.same(DECISION, 1), RISE(n_masks=MASKS)
    for engine in ("torch", "compile"):
        own = settled(classifier("resnet50", BATCH))
        network = dataclasses.replace(own, engine=engine, expected_passes=MANY, masked_dtype=torch.bfloat16)
        batch = photos(1) * torch.rand(BATCH, 1, SIDE, SIDE).to(network.device)
        bare = passes(network, engine, batch, MASKS // BATCH)

        def masked(network: Classifier = network) -> None:
            rise.attribute(network, photos(1), targets, seeds)

        found, taken = ratios(masked, bare, rounds)
        whole = tuple(ratio * each for ratio, each in zip(found, taken, strict=True))
        figures.append(Figure(f"RISE of {MASKS:,} masks, ResNet-50, bfloat16, {engine}", "s", whole, SECONDS))
        figures.append(Figure(f"the same over bare passes in batches of {BATCH}, {engine}", "", tuple(found), OVER_BARE))
    return figures
