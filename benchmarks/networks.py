"""Networks and inputs to measure on. Weights are random: they do not change what a pass costs."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model

from xaicli.images.decode import decode
from xaicli.images.find import find
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.network.classifier import Classifier

SIDE = 224


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def classifier(name: str, batch_size: int | None = None) -> Classifier:
    """A torchvision network of that name with random weights; `pooling` is one that does next to nothing."""
    torch.manual_seed(0)
    module = Pooling() if name == "pooling" else get_model(name, weights=None)
    module = module.eval().requires_grad_(False).to(device())
    provides = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES
    view = View(resize=None, crop=SIDE)
    return Classifier(module, module, name, view, (), 1000, provides, "0" * 16, device(), batch_size=batch_size)


def assets() -> Path:
    """The folder of real weights and photos: XAI_ASSETS, or beside the project."""
    return Path(os.environ.get("XAI_ASSETS", "../shared/assets"))


def mobilenet() -> Classifier:
    """MobileNetV2 with the weights in the folder of assets where it is there, else with random ones."""
    network = settled(classifier("mobilenet_v2"))
    path = assets() / "weights" / "mobilenet_v2.safetensors"
    if path.is_file():
        network.torch_module.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()}, strict=False)
    return network


def photos(count: int) -> Tensor:
    """Inputs (count, 3, 224, 224) on the device."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).to(device())


def real_photos(network: Classifier, count: int) -> Tensor:
    """Prepared photos (count, 3, 224, 224) from the folder of assets, spread over it; random inputs where it is not there."""
    found = sorted((assets() / "photos").glob("*.jpg"))
    if not found:
        return photos(count)
    chosen = [found[number * len(found) // count] for number in range(count)]
    view = View(resize=256, crop=SIDE)
    return torch.stack([view.prepare(decode(find([str(path)])[0]).image) for path in chosen]).to(network.device)


def settled(network: Classifier) -> Classifier:
    """The network with batch statistics of its own activations: untrained ones let the signal die away."""
    module = network.torch_module
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    module.train()
    with torch.no_grad():
        module(photos(8))
    module.eval()
    return network


class Pooling(nn.Module):
    """Colour means of 49 fields, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 49, 1000)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(nn.functional.adaptive_avg_pool2d(inputs, 7).flatten(1))
