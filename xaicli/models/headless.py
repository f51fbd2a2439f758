"""Whether a network gives features, as a self-supervised one without a head does, and no scores of classes; as far as that can be
known.

It is known where its outputs come from no linear layer or convolution, and either a part that says so returns them, or they are
as wide as a layer norm after which no layer with weights runs. A part says so if it is a network of timm with `num_classes=0`,
a base model of transformers (`ViTModel`), or if the identity stands in its head's place (`fc = nn.Identity()`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import XaiError
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.noise import noise
from xaicli.network.observe import Call, observing
from xaicli.network.raw_output import read_outputs

HEADS = ("head", "heads", "fc", "classifier", "last_linear")
"""Names that networks give to the part that makes scores of features."""
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


def gives_features(classifier: Classifier, count: int) -> bool:
    """Whether the `count` outputs of a network without class names, whose outputs nobody described, are features."""
    module = classifier.module
    if module is None or Needs.HEAD not in classifier.provides or classifier.view.frames:
        return False
    if not any(says_so(part) or width_of_norm(part) for part in module.modules()):
        return False
    said: list[Any] = []
    weighted: list[Tensor] = []
    last: list[nn.Module] = []

    def after(call: Call, args: object, kwargs: object, output: Any) -> None:
        if says_so(call.module):
            said.append(output)
        # A convolution as a head gives (1, C, 1, 1). Only what may be the outputs is kept.
        if isinstance(call.module, WEIGHTED) and isinstance(output, Tensor) and output.numel() == count:
            weighted.append(output.flatten().float())
        if any(True for _ in call.module.parameters(recurse=False)) and not any(True for _ in call.module.children()):
            last[:] = [call.module]

    inputs = noise(module, classifier.view.size, classifier.view.channels)
    watched = observing(module, after=after)
    with (
        contained(f"{classifier.name} on a trial input"),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
        eval_mode(module),
        watched,
    ):
        outputs = classifier.layers_known.outputs(module(inputs))
    if any(torch.equal(one, outputs.flatten()) for one in weighted):
        return False
    return any(width_of_norm(part) == count for part in last) or any(is_same(one, outputs, classifier) for one in said)


def says_so(part: nn.Module) -> bool:
    """Whether a part of a network declares that it has no head."""
    base = hasattr(part, "config") and getattr(part, "base_model", None) is part and "For" not in type(part).__name__
    headless = any(type(getattr(part, name, None)) is nn.Identity for name in HEADS)
    return base or headless or (getattr(part, "num_classes", None) == 0 and hasattr(part, "num_features"))


def width_of_norm(part: nn.Module) -> int:
    """How many features a part normalises, if it is a norm over the features of a place or token; else 0."""
    weight = getattr(part, "weight", None)
    return weight.shape[-1] if isinstance(weight, Tensor) and type(part).__name__.startswith(("LayerNorm", "RMSNorm")) else 0


def is_same(given: Any, outputs: Tensor, classifier: Classifier) -> bool:
    """Whether what a part returned is what the network returns."""
    try:
        return torch.equal(read_outputs(given, 1, classifier.name, classifier.output_name), outputs)
    except XaiError:
        return False
