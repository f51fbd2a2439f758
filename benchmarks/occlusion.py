"""Occlusion against captum's: its best number of windows a pass in float32, and its default, one, in bfloat16."""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos
from benchmarks.timing import ratios, seconds
from xaicli.methods.occlusion.occlusion import Occlusion
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

WINDOW, STRIDE = 32, 16
WINDOWS = 13 * 13
SIZES = (4, 8, 16)
"""Windows a pass that captum is tuned over."""


def measure(rounds: int) -> list[Figure]:
    return [figure for name in ("mobilenet_v2", "resnet50") for figure in compare(name, rounds)]


def compare(name: str, rounds: int) -> list[Figure]:
    network, inputs = classifier(name), photos(1)
    half = network.with_masked_dtype(torch.bfloat16)
    best = min(SIZES, key=lambda size: seconds(lambda: by_captum(network, inputs, size)))
    tuned, theirs = ratios(lambda: ours(network, inputs), lambda: by_captum(network, inputs, best), rounds)
    bare, default = ratios(lambda: ours(half, inputs), lambda: by_captum(network, inputs, 1), rounds)
    return [
        Figure(f"occlusion on {name} over captum's with {best} windows a pass, float32", "", tuple(tuned), 1 / 1.5),
        Figure(f"occlusion on {name} in bfloat16 over captum's default", "", tuple(bare), 1 / 3),
        Figure(f"captum, {name}, {best} windows a pass", "ms a window", tuple(1000 * each / WINDOWS for each in theirs)),
        Figure(f"captum, {name}, one window a pass", "ms a window", tuple(1000 * each / WINDOWS for each in default)),
    ]


def ours(network: Classifier, inputs: Tensor) -> None:
    """All that a map costs: the deciding pass, the look for cuts, the windows."""
    Occlusion(window=WINDOW, stride=STRIDE).attribute(network, inputs, Targets.same(DECISION, 1), torch.tensor([1]))


def by_captum(network: Classifier, inputs: Tensor, windows_a_pass: int) -> Tensor:
    with torch.inference_mode():
        decided = network(inputs).argmax(dim=1)
        occlusion = captum.attr.Occlusion(network.torch_module)
        sides, steps = (3, WINDOW, WINDOW), (3, STRIDE, STRIDE)
        found: Tensor = occlusion.attribute(inputs, sides, steps, target=decided, perturbations_per_eval=windows_a_pass)
    return found
