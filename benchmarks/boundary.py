"""The decision boundary on a linear head against a bare forward pass and ten passes of what follows the feature layer."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos
from benchmarks.timing import ratios
from xaicli.methods.boundary.boundary import Boundary
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

BATCH, OF_THE_HEAD = 16, 10


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in ("mobilenet_v2", "resnet50"):
        ratio, bare = compare(classifier(name), rounds)
        what = f"a bare forward pass and {OF_THE_HEAD} of the head"
        figures.append(Figure(f"boundary of {BATCH} photos on {name} over {what}", "", tuple(ratio), 1.1))
        figures.append(Figure(f"{what}, {BATCH} photos, {name}", "s", tuple(bare)))
    return figures


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    inputs, seeds, targets = photos(BATCH), torch.arange(BATCH), Targets.same(DECISION, BATCH)
    module, layer = network.torch_module, network.feature_layer().module
    [head] = [part for part in module.modules() if isinstance(part, nn.Linear)]

    def bare() -> None:
        with torch.inference_mode():
            kept: list[torch.Tensor] = []
            hook = layer.register_forward_hook(lambda part, given, output: kept.append(output))
            try:
                module(inputs)
            finally:
                hook.remove()
            for _ in range(OF_THE_HEAD):
                head(kept[0].mean(dim=(2, 3)))

    return ratios(lambda: Boundary().attribute(network, inputs, targets, seeds), bare, rounds)
