"""`xaicli.detector`: a torch module of one's own as a detector."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.images.view_values import per_channel
from xaicli.models import torchvision_detectors
from xaicli.models.assemble import assemble
from xaicli.models.from_module import device_of, names
from xaicli.models.input_view import Side
from xaicli.models.model_request import LoadedModel
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.proposals import OVERLAP, Decoding
from xaicli.passes.device import resolve_device
from xaicli.words import type_of

YOLO_VIEW = View((640, 640), None, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), torchvision_detectors.GREY)
"""How photos are prepared by default."""

logger = logging.getLogger("xaicli")


def detector(
    module: nn.Module,
    *,
    decode: Callable[[Any], Any] | None = None,
    resize: Side | None = None,
    letterbox: bool | None = None,
    interpolation: str = "bilinear",
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    classes: Sequence[str] | str | Path | None = None,
    layer: str = "auto",
    confidence: float | None = None,
    overlap: float | None = OVERLAP,
    name: str = "",
    device: str | torch.device | None = None,
) -> Classifier:
    """A detector from a torch module that takes (B, 3, H, W), and a function that reads boxes off its output.

    decode(output) -> boxes, scores: for a batch of B photos (B, N, 4) and (B, N, C), or a list of pairs (N, 4) and (N, C); a
    function that returns (N, 4) and (N, C) is called photo by photo. Boxes are left, top, right, bottom in pixels of the input,
    scores are of each class, 0 to 1; a third tensor (B, N) is the objectness. It must return all proposals, before any are
    dropped: non-maximum suppression and thresholds are applied here, and gradients do not pass through them. Detectors of
    torchvision need no `decode`.

    resize: the input's side, or (height, width); letterbox: whether the photo keeps its proportions, with grey around it; mean,
    std: of colours in 0..1; by default 640, letterboxed, colours as they are, and of torchvision's detectors what they state.
    confidence: proposals below it do not count, 0.05 by default; overlap: of two boxes of one class that overlap by more
    (intersection over union) the better one is kept, None for networks that propose each object once; layer, classes, name,
    device: as of `xaicli.classifier`. Raises XaiError.

        xaicli.explain("street.jpg", xaicli.detector(network, decode=decode), "d-rise", target="box:0")
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"{type_of(module)} is not a network", expected="a torch module, in xaicli.detector(module)")
    if decode is not None and not callable(decode):
        raise InputError(f"decode is {type_of(decode)}", expected="a function: decode(output) -> boxes, scores")
    if not 0 <= (confidence or 0) < 1 or (overlap is not None and not 0 < overlap <= 1):
        raise UsageError(
            f"confidence {confidence} and overlap {overlap}", expected="a confidence from 0 to below 1, an overlap above 0 to 1"
        )
    given = LoadedModel(name or type(module).__name__, YOLO_VIEW, module=module, layer=layer)
    if decode is None:
        found = torchvision_detectors.loaded(given.name, module)
        given = dataclasses.replace(found, layer=found.layer if layer == "auto" else layer)
    own = given.decoding or Decoding(decode or torchvision_detectors.as_it_is)
    loaded = dataclasses.replace(
        given,
        view=view_of(given.view, resize, letterbox, interpolation, mean, std),
        decoding=dataclasses.replace(own, floor=own.floor if confidence is None else confidence, overlap=overlap),
    )
    where = device_of(module) if device is None else resolve_device(device)
    with contained(f"{loaded.name}, when it was made ready,"), eval_mode(module):
        return assemble(loaded, device=where, classes=names(classes), notice=logger.info)


def view_of(
    own: View,
    resize: Side | None,
    letterbox: bool | None,
    interpolation: str,
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
) -> View:
    """A network's own view, with the user's settings in place of its own."""
    size = own.size if resize is None else (resize, resize) if isinstance(resize, int) else resize
    boxed = own.letterbox is not None if letterbox is None else letterbox
    colours = (own.mean if mean is None else per_channel("mean", mean), own.std if std is None else per_channel("std", std))
    return View(size, None, interpolation, *colours, torchvision_detectors.GREY if boxed else None)
