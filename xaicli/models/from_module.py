"""`xaicli.classifier`: a torch module of one's own as a classifier."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError
from xaicli.images.view import IMAGENET_MEAN, IMAGENET_STD, View, colour
from xaicli.models.assemble import Side, assemble
from xaicli.models.classes import read_classes
from xaicli.models.model_request import LoadedModel
from xaicli.network.classifier import Classifier
from xaicli.outputs import outputs_named
from xaicli.passes.device import resolve_device

logger = logging.getLogger("xaicli")


def classifier(
    module: nn.Module,
    *,
    resize: Side | None = 256,
    crop: Side | None = 224,
    interpolation: str = "bilinear",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    classes: Sequence[str] | str | Path | None = None,
    layer: str = "auto",
    outputs: str | None = None,
    output_name: str = "",
    name: str = "",
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> Classifier:
    """A classifier from a torch module that takes (B, 3, H, W) and returns logits (B, C).

    resize, crop, interpolation, mean, std: how photos are prepared, colours in 0..1; classes: names by index, or a file of them;
    layer: the feature layer; outputs: `softmax`, `sigmoid` (labels of their own, or one yes-or-no output) or `values`, found
    where not given; output_name: the key or index of the outputs, where the module returns a tuple or dict; name: what results
    call it, by default the module's class; device: where it runs, by default where it is. The module is put into evaluation mode;
    nothing else of it is changed. Raises XaiError.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"a {type(module).__name__} is no network", expected="a torch module, in xaicli.classifier(module)")
    view = View(resize, crop, interpolation, colour("mean", mean), colour("std", std))
    loaded = LoadedModel(name or type(module).__name__, view, module=module, layer=layer)
    where = device_of(module) if device is None else resolve_device(device)
    with contained(f"{loaded.name}, when it was made ready,"):
        return assemble(
            loaded,
            device=where,
            precision=precision,
            classes=names(classes),
            outputs=outputs_named(outputs),
            output_name=output_name,
            notice=logger.info,
        )


def names(classes: Sequence[str] | str | Path | None) -> tuple[str, ...] | None:
    """Class names as given, or read from the file that is named."""
    if isinstance(classes, str | Path):
        return read_classes(Path(classes))
    return tuple(classes) if classes else None


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights lie; the CPU where it has none."""
    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else torch.device("cpu")
