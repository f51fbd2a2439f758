"""`xaicli.classifier`: a torch module of one's own as a classifier."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models import from_open_clip, hf_text_image
from xaicli.models.assemble import assemble
from xaicli.models.classes import read_classes
from xaicli.models.input_view import Overrides, Side
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.prompts import read_prompts
from xaicli.models.text_image import classifier_of_prompts
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.outputs import Outputs, outputs_named
from xaicli.passes.device import resolve_device
from xaicli.words import type_of

logger = logging.getLogger("xaicli")


said: ContextVar[tuple[Outputs | None, str]] = ContextVar("said", default=(None, ""))
"""What the command line says of the outputs of a network that is being made; see `saying`."""


def classifier(
    module: nn.Module,
    *,
    resize: Side | None = 256,
    crop: Side | None = 224,
    interpolation: str = "bilinear",
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    channels: int | None = None,
    window: str = "declared",
    input_scale: float = 1.0,
    input_order: str = "rgb",
    fast_decode: bool = False,
    frames: int | None = None,
    frame_step: int | None = None,
    classes: Sequence[str] | str | Path | None = None,
    prompts: str | Sequence[str] | None = None,
    template: str | Sequence[str] | None = None,
    tokenizer: Any = None,
    layer: str = "auto",
    outputs: str | None = None,
    output_name: str = "",
    name: str = "",
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> Classifier:
    """A classifier from a torch module that takes (B, C, H, W), or sequences (B, C, frames, H, W), and returns logits (B, C).

    resize, crop, interpolation: how photos are prepared; channels: how many the network takes, by default three or the number of
    its first convolution; mean, std: a number per channel, or one for all, by default ImageNet's for three channels in 0..1, else
    0 and 1; window: the values of black and white in photos of more than 8 bits; input_scale: the value of white before mean and
    std, 255 for networks that take bytes; input_order: "rgb", or "bgr" for networks that take blue first; fast_decode: JPEGs much
    larger than the input are decoded smaller; frames: how many of a sequence it reads, where it reads sequences; a network of
    photos reads them one by one, and the mean of their logits counts; frame_step: of how many frames one is taken.

    classes: names by index, or a file of them; prompts, template, tokenizer: of a text-image model of transformers or open_clip,
    the texts that are its classes, sentences with {} in their place, and the tokenizer; layer: the feature layer; outputs:
    `softmax`, `sigmoid` (labels of their own, or one yes-or-no output) or `values`, detected if not given; output_name: the key
    or index of the outputs, if the module returns a tuple or dict; name: its name in results, by default the module's class;
    device: where it runs, by default where it is; another device moves it there.

    The module itself is used, not a copy. Passes run in evaluation mode; afterwards each of its parts has its previous mode, and
    weights, gradients and hooks are as they were. What its own forward() writes, such as a buffer that counts calls, stays as
    forward() left it. Raises XaiError.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"{type_of(module)} is not a network", expected="a torch module, in xaicli.classifier(module)")
    view = View(resize, crop, interpolation)
    overrides = Overrides(
        mean=mean,
        std=std,
        channels=channels,
        window=window,
        input_scale=input_scale,
        input_order=input_order,
        fast_decode=fast_decode,
        frames=frames,
        frame_step=frame_step,
    )
    called = name or type(module).__name__
    given = names(classes)
    where = device_of(module) if device is None else resolve_device(device)
    with contained(f"{called}, when it was made ready,"), eval_mode(module):
        loaded = LoadedModel(called, view, module=module)
        if prompts is not None:
            request = Request(called, notice=logger.info, prompts=read_prompts(prompts, template, given))
            loaded = of_prompts(module, tokenizer, view, request)
        return assemble(
            loaded,
            device=where,
            precision=precision,
            overrides=overrides,
            classes=given,
            layer=layer,
            outputs=outputs_named(outputs) or said.get()[0],
            output_name=output_name or said.get()[1],
            notice=logger.info,
        )


@contextmanager
def saying(outputs: Outputs | None, output_name: str) -> Iterator[None]:
    """Let `classifier`, where it is called by the code of a file, take what the command line says of the outputs, unless that
    code says it itself: they may be all that makes its network a classifier."""
    token = said.set((outputs, output_name))
    try:
        yield
    finally:
        said.reset(token)


def of_prompts(module: nn.Module, tokenizer: Any, view: View, request: Request) -> LoadedModel:
    """The image side of the user's text-image model, with one class per prompt; raises UsageError if the module is not such a
    model."""
    if not hasattr(module, "get_image_features") and not hasattr(module, "encode_image"):
        raise UsageError(
            f"{type_of(module)} reads no texts, but prompts are given",
            expected="a text-image model of transformers or open_clip",
        )
    if tokenizer is None:
        raise UsageError(
            f"{request.name} compares photos with texts, but no tokenizer is given",
            hint="Write xaicli.classifier(model, prompts=[...], tokenizer=tokenizer).",
        )
    if hasattr(module, "get_image_features"):
        model = hf_text_image.text_image_model(module, tokenizer, view, request.name)
    else:
        model = from_open_clip.text_image_model(module, tokenizer)
    return classifier_of_prompts(model, view, request.name, request)


def names(classes: Sequence[str] | str | Path | None) -> tuple[str, ...] | None:
    """Class names as given, or read from the named file."""
    if isinstance(classes, str | Path):
        return read_classes(Path(classes))
    return tuple(classes) if classes else None


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's weights; the CPU if it has none."""
    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else torch.device("cpu")
