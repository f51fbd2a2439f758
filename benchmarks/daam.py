"""DAAM, all blocks at once, against a bare forward and backward pass of the same vision transformer."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from benchmarks.figures import Figure
from benchmarks.grad_cam import forward_and_backward
from benchmarks.networks import SIDE, device, photos
from benchmarks.timing import ratios
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.methods.daam.daam import DAAM
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

BATCH = 8


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name, (heads, width) in {"a ViT of DeiT-Ti/16's size": (3, 192), "a ViT of ViT-B/16's size": (12, 768)}.items():
        ratio, bare = compare(transformer(heads, width), rounds)
        figures.append(Figure(f"DAAM of {BATCH} photos on {name} over bare passes", "", tuple(ratio), 1.3))
        figures.append(Figure(f"a bare forward and backward pass of {BATCH} photos, {name}", "s", tuple(bare)))
    return figures


def transformer(heads: int, width: int) -> Classifier:
    """Twelve blocks, 196 patches of 16 pixels; random weights, of the head too, which torchvision leaves at zero."""
    torch.manual_seed(0)
    module = VisionTransformer(SIDE, 16, num_layers=12, num_heads=heads, hidden_dim=width, mlp_dim=4 * width)
    nn.init.normal_(module.heads.head.weight, std=0.02)
    module = module.eval().requires_grad_(False).to(device())
    provides = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES | Needs.ATTENTION
    return Classifier(module, module, "transformer", View(resize=None, crop=SIDE), (), 1000, provides, "0" * 16, device())


def compare(network: Classifier, rounds: int) -> tuple[list[float], list[float]]:
    """DAAM, and gradients of the largest logits at the tokens that enter the first block."""
    inputs, seeds, targets = photos(BATCH), torch.arange(BATCH), Targets.same(DECISION, BATCH)
    module = network.torch_module
    # Where tokens lie is looked up once for a network, not once a batch.
    assert network.default_layer
    tokens = module.get_submodule("encoder.dropout")

    def explain() -> None:
        DAAM().attribute(network, inputs, targets, seeds)

    return ratios(explain, lambda: forward_and_backward(module, tokens, inputs), rounds)
