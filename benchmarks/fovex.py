"""FovEx against the bare passes that it counts: of as many photos, and back to the input where it takes gradients."""

from __future__ import annotations

import time

import torch

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos
from benchmarks.timing import ratios
from xaicli.methods.fovex import FovEx
from xaicli.network.classifier import Classifier
from xaicli.passes.device import threads
from xaicli.targets import DECISION, Targets

BATCH, FIXATIONS, STEPS = 2, 2, 8


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in ("mobilenet_v3_large", "resnet50"):
        ratio, bare = compare(classifier(name), rounds)
        figures.append(
            Figure(f"FovEx of {FIXATIONS} x {STEPS} steps, {BATCH} photos on {name}, over its bare passes", "", tuple(ratio), 1.1)
        )
        figures.append(Figure(f"bare passes of {FIXATIONS} x {STEPS} steps, {BATCH} photos, {name}", "s", tuple(bare)))
    return figures


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    method = FovEx(n_fixations=FIXATIONS, n_steps=STEPS)
    inputs, seeds, targets = photos(BATCH), torch.arange(BATCH), Targets.same(DECISION, BATCH)
    module, cost = network.torch_module, method.cost()

    def bare() -> None:
        for _ in range(int(cost.backward)):
            leaf = inputs.clone().requires_grad_(True)
            torch.autograd.grad(module(leaf).amax(dim=1).sum(), leaf)
        with torch.inference_mode():
            for _ in range(int(cost.forward - cost.backward)):
                module(inputs)

    clock = time.process_time if inputs.device.type == "cpu" else time.perf_counter
    with threads(1):
        return ratios(lambda: method.attribute(network, inputs, targets, seeds), bare, rounds, clock)
