"""Grad-CAM on a batch against a bare forward pass and a backward pass to the same layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos
from benchmarks.timing import ratios
from xaicli.methods.grad_cam import GradCAM
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

BATCH = 16


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in ("resnet50", "mobilenet_v3_large"):
        ratio, bare = compare(classifier(name), rounds)
        figures.append(Figure(f"Grad-CAM of {BATCH} photos on {name} over bare passes", "", tuple(ratio), 1.15))
        figures.append(Figure(f"a bare forward and backward pass of {BATCH} photos, {name}", "s", tuple(bare)))
    return figures


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    inputs, seeds, targets = photos(BATCH), torch.arange(BATCH), Targets.same(DECISION, BATCH)
    module, layer = network.torch_module, network.feature_layer().module

    def explain() -> None:
        GradCAM().attribute(network, inputs, targets, seeds)

    return ratios(explain, lambda: forward_and_backward(module, layer, inputs), rounds)


def forward_and_backward(module: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
    """Gradients of the largest logits at the layer's output; the graph begins there, so that nothing before it is kept."""
    kept: list[Tensor] = []

    def begin(module: nn.Module, given: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        # A copy, since an operation in place may follow.
        return kept[0].clone()

    hook = layer.register_forward_hook(begin)
    try:
        logits = module(inputs)
    finally:
        hook.remove()
    return torch.autograd.grad(logits.amax(dim=1).sum(), kept[0])[0]
