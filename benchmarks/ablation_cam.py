"""Ablation-CAM of a network's last stage against pytorch-grad-cam's, which runs the whole network once a channel."""

from __future__ import annotations

import contextlib
import importlib.util
import io

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos, settled
from benchmarks.timing import ratios
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.network.classifier import Classifier
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.targets import DECISION, Targets

NETWORK, LAYER, CHANNELS = "resnet18", "layer4", 512
FASTER, ALIKE = 100, 1e-3


def measure(rounds: int) -> list[Figure]:
    """Nothing where pytorch-grad-cam is not installed."""
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        return []
    network, inputs = settled(classifier(NETWORK)), photos(1)
    ratio, theirs = ratios(lambda: ours(network, inputs), lambda: by_pytorch_grad_cam(network, inputs), rounds)
    difference = (ours(network, inputs) - by_pytorch_grad_cam(network, inputs)).abs().max().item()
    words = f"Ablation-CAM of {CHANNELS} channels, {NETWORK},"
    return [
        Figure(f"{words} over pytorch-grad-cam's", "", tuple(ratio), 1 / FASTER),
        Figure(f"{words} pytorch-grad-cam", "s", tuple(theirs)),
        Figure(f"{words} largest difference of the maps, 0 to 1", "", (difference,), ALIKE),
    ]


def ours(network: Classifier, inputs: Tensor) -> Tensor:
    """The map (1, H, W), 0 to 1, as pytorch-grad-cam gives it."""
    maps = AblationCAM(layer=LAYER).attribute(network, inputs, Targets.same(DECISION, 1), torch.tensor([1]))
    return unit_range(upsample(maps.values[:, 0], (inputs.shape[2], inputs.shape[3])))


def by_pytorch_grad_cam(network: Classifier, inputs: Tensor) -> Tensor:
    from pytorch_grad_cam import AblationCAM as Theirs

    module = network.torch_module
    # It shows a progress bar. Without targets it explains the decision.
    with contextlib.redirect_stderr(io.StringIO()), Theirs(model=module, target_layers=[module.get_submodule(LAYER)]) as cam:
        return torch.from_numpy(cam(input_tensor=inputs)).to(inputs.device)
