"""UCAG over Grad-CAM against bare forward and backward passes of slices that are in place already."""

from __future__ import annotations

import torch

from benchmarks.figures import Figure
from benchmarks.grad_cam import forward_and_backward
from benchmarks.networks import classifier, photos
from benchmarks.timing import ratios
from xaicli.methods.ucag.ucag import UCAG
from xaicli.network.classifier import Classifier
from xaicli.passes.memory import batch_size_for
from xaicli.targets import DECISION, Targets

SLICES, ENLARGED = 36, 322


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in ("mobilenet_v3_large", "resnet50"):
        ratio, bare = compare(classifier(name), rounds)
        figures.append(Figure(f"UCAG of {SLICES} slices on {name} over their bare passes", "", tuple(ratio), 1.1))
        figures.append(Figure(f"bare forward and backward passes of {SLICES} slices, {name}", "s", tuple(bare)))
    return figures


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    """UCAG, its pass of the whole photo included, and the passes of as many enlarged slices, in chunks of the same length and in
    the layout that is fastest."""
    inputs, seeds, targets = photos(1), torch.tensor([1]), Targets.same(DECISION, 1)
    module, layer = network.torch_module, network.feature_layer().module
    chunk = batch_size_for(inputs.device, ENLARGED, ENLARGED)
    slices = torch.randn(SLICES, 3, ENLARGED, ENLARGED, device=inputs.device).to(memory_format=torch.channels_last)

    def bare() -> None:
        for part in slices.split(chunk):
            forward_and_backward(module, layer, part)

    return ratios(lambda: UCAG().attribute(network, inputs, targets, seeds), bare, rounds)
