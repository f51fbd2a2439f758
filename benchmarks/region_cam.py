"""Grad-CAM of a region of a class map over a bare forward pass and a backward pass to the same layer."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.grad_cam import forward_and_backward
from benchmarks.timing import ratios
from xaicli.images.source import Source
from xaicli.methods.grad_cam import GradCAM
from xaicli.models.from_module import classifier
from xaicli.network.regions import FixedRegion, predicted
from xaicli.runs.photo_maps import explain_photos
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import choose_targets
from xaicli.targets import TargetRule, Targets

NAME, SIDE = "lraspp_mobilenet_v3_large", 256
PHOTOS = 4


def measure(rounds: int) -> list[Figure]:
    """By processor time: what the region costs is no more than some sums over the class map."""
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.get_model(NAME, weights=None, weights_backbone=None).eval()
    made = classifier(network, resize=SIDE, crop=SIDE)
    photo = torch.randn(1, 3, SIDE, SIDE)
    assert made.pixels is not None
    with torch.no_grad():
        clean = predicted(made.class_map(photo), made.pixels)[0]
    largest = int(clean.sum(dim=(1, 2)).argmax())
    bound = made.for_region(FixedRegion(clean[largest], clean))
    targets, seeds = Targets((TargetRule(index=largest),), bound.outputs), torch.zeros(1, dtype=torch.int64)

    def explain() -> None:
        GradCAM().attribute(bound, photo, targets, seeds)

    pictures = np.random.default_rng(0).integers(0, 256, (PHOTOS, SIDE, SIDE, 3), dtype=np.uint8)
    sources = [Source.of(picture) for picture in pictures]
    choice = choose_targets("top1", made, sources)

    def run() -> None:
        for _ in explain_photos(sources, made, [GradCAM()], choice, Settings()):
            pass

    layer = bound.feature_layer().module
    bare = partial(forward_and_backward, BareLogits(network), layer, photo)
    ratio, _ = ratios(explain, bare, rounds, time.process_time)
    run()
    whole, _ = ratios(run, lambda: [bare() for _ in sources], rounds, time.process_time)
    return [
        Figure(f"Grad-CAM of a region on {NAME}, {SIDE} px, over bare passes", "", tuple(ratio), 1.15),
        Figure("a photo of a run, decoded, its region fixed and its record made, over the same", "", tuple(whole)),
    ]


class BareLogits(torch.nn.Module):
    """The mean logits of a class map (B, C)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs)["out"].mean(dim=(2, 3))
        return logits
