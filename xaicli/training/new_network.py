"""A network to train: with initial weights, or pretrained with a new head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaicli.errors import InputError, UsageError
from xaicli.models.architecture import build
from xaicli.models.assemble import assemble
from xaicli.models.checkpoint import ENDING, is_checkpoint, read_metadata
from xaicli.models.input_view import Overrides
from xaicli.models.load import load_classifier
from xaicli.models.model_request import LoadedModel, Notice
from xaicli.network.classifier import Classifier
from xaicli.passes.device import resolve_device
from xaicli.words import count

VIEW_KEYS = ("resize", "crop", "interpolation", "mean", "std", "channels", "window", "input_scale", "input_order", "fast_decode")


@dataclass(frozen=True, eq=False)
class NewNetwork:
    """A classifier whose network is to be trained, and the specification that builds such a network without weights."""

    classifier: Classifier
    spec: str


def fresh_classifier(spec: str, classes: tuple[str, ...], options: dict[str, Any], notice: Notice) -> NewNetwork:
    """A network of that specification with initial weights and one output per class.

    options: of `load_classifier`. Raises UsageError if the specification cannot be built without weights.
    """
    architecture = build(spec, len(classes), trust=True)
    made = LoadedModel(architecture.spec, architecture.view, module=architecture.module)
    return NewNetwork(assembled(made, classes, options, notice), architecture.spec)


def pretrained_classifier(spec: str, classes: tuple[str, ...], options: dict[str, Any], notice: Notice) -> NewNetwork:
    """A network with its weights, and with a new head if its number of outputs is not the number of classes."""
    loaded = load_classifier(spec, notice=notice, **{key: value for key, value in options.items() if key != "classes"})
    module = loaded.torch_module
    if loaded.count != len(classes):
        replace_head(module, loaded.count, len(classes))
        notice(f"{loaded.name}: a new head for {count(len(classes), 'class', 'classes')} in place of {loaded.count}")
    plain = architecture_of(spec, options.get("weights"), len(classes))
    made = LoadedModel(plain, loaded.view, module=module)
    return NewNetwork(assembled(made, classes, {"device": loaded.device}, notice), plain)


def architecture_of(spec: str, weights: str | Path | None, count: int) -> str:
    """The specification that builds a network without its weights: of a file of xai train, the one that its record names."""
    name = spec.partition("@weights=")[0]
    file = Path(weights or name).expanduser()
    if file.suffix == ENDING and is_checkpoint(file):
        recorded = read_metadata(file).get("architecture")
        name = recorded["spec"] if isinstance(recorded, dict) and isinstance(recorded.get("spec"), str) else name
    return build(name, count, trust=True).spec


def assembled(made: LoadedModel, classes: tuple[str, ...], options: dict[str, Any], notice: Notice) -> Classifier:
    overrides = Overrides(**{key: options[key] for key in VIEW_KEYS if key in options})
    device = resolve_device(options.get("device", "auto"))
    if len(classes) < 2:
        raise UsageError(f"the data has {len(classes)} class", expected="at least 2 classes to tell apart")
    return assemble(made, device=device, overrides=overrides, classes=classes, notice=notice)


def replace_head(module: nn.Module, before: int, after: int) -> None:
    """Replace the last layer, which has `before` outputs, by a new one for `after` classes; raises InputError."""
    for name, part in reversed(list(module.named_modules())):
        parent = module.get_submodule(name.rpartition(".")[0]) if "." in name else module
        if isinstance(part, nn.Linear) and part.out_features == before:
            head: nn.Module = nn.Linear(part.in_features, after, part.bias is not None)
        elif isinstance(part, nn.Conv2d) and part.out_channels == before and part.kernel_size == (1, 1):
            head = nn.Conv2d(part.in_channels, after, 1, bias=part.bias is not None)
        else:
            continue
        tensor = next(part.parameters())
        setattr(parent, name.rpartition(".")[2], head.to(tensor.device))
        return
    found = "the network has no last layer that could be replaced"
    raise InputError(found, hint="Train it from the start: leave --pretrained out.")


def to_train(module: nn.Module, device: torch.device) -> nn.Module:
    """Move the module to the device, with the memory layout that suits convolutions best, and make all weights trainable."""
    return module.to(device=device, memory_format=torch.channels_last).requires_grad_(True)  # type: ignore[call-overload, no-any-return]
