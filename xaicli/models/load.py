"""Loading a classifier by specification, as `--model` and its options do."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, UsageError
from xaicli.models import (
    from_checkpoint,
    from_export,
    from_file,
    from_hf,
    from_onnx,
    from_open_clip,
    from_openvino,
    from_script,
    from_tflite,
    from_timm,
    from_torchvision,
)
from xaicli.models.architecture import OURS
from xaicli.models.assemble import assemble
from xaicli.models.catalogue import DEFAULT
from xaicli.models.checkpoint import is_checkpoint
from xaicli.models.classes import read_classes
from xaicli.models.from_script import is_script
from xaicli.models.input_view import Overrides, Side
from xaicli.models.model_request import LoadedModel, Notice, Request
from xaicli.models.other_runtimes import refuse_other_runtimes
from xaicli.models.prompts import read_prompts
from xaicli.models.torch_file import is_exported_program
from xaicli.network.classifier import Classifier
from xaicli.offline import is_offline
from xaicli.outputs import outputs_named
from xaicli.packages import whole_installation
from xaicli.params import Spec, escape, fold, parse_spec
from xaicli.passes.device import resolve_device
from xaicli.passes.engine import checked_engine
from xaicli.untrusted import is_file, is_there
from xaicli.words import type_of

Load = Callable[[Request], LoadedModel]
SOURCES: dict[str, Load] = {
    "torchvision": from_torchvision.load,
    "timm": from_timm.load,
    "hf": from_hf.load,
    "onnx": from_onnx.load,
    "openvino": from_openvino.load,
    "tflite": from_tflite.load,
    "open-clip": from_open_clip.load,
}
"""Sources by the prefix of a specification."""
TAKE_CHECKPOINTS: tuple[Load, ...] = (from_file.load, from_checkpoint.load_bundled)
"""Sources that can load the weights of a checkpoint of `xai train` into their networks."""
TAKE_PROMPTS: tuple[Load, ...] = (from_hf.load, from_open_clip.load)
"""Sources that hold text-image models."""
PROGRAMS: dict[str, Load] = {
    ".onnx": from_onnx.load,
    ".xml": from_openvino.load,
    ".tflite": from_tflite.load,
    ".pt2": from_export.load,
}
"""Exported networks, by the ending of their files."""
WITHOUT_VIEW: tuple[Load, ...] = (*PROGRAMS.values(), from_script.load)
"""Sources whose files say nothing of how photos are prepared."""
CAN_BE_CUT: tuple[Load, ...] = (from_onnx.load, from_export.load)
"""Sources of exported networks, which have no layers but may be cut at a tensor: `@layer=TENSOR`."""
WEIGHTS_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
QUALIFIERS = ("weights", "layer")
FORMS = (
    "NAME, torchvision:NAME@WEIGHTS, timm:NAME, hf:OWNER/NAME, open-clip:NAME@TAG, FILE.py:FUNCTION, onnx:FILE, openvino:FILE, "
    "tflite:FILE or FILE.pt2"
)

UNTRUSTED: ContextVar[bool] = ContextVar("UNTRUSTED", default=False)
"""True while a model of an untrusted suite is loaded."""

logger = logging.getLogger("xaicli")


@contextmanager
def untrusted(yes: bool) -> Iterator[None]:
    """With `yes`, no model inside the `with` may run its own code or be downloaded. This also covers a model that a suite names
    as a parameter of a method, or through a checkpoint. Raises UsageError for a model that would be downloaded."""
    token = UNTRUSTED.set(yes)
    try:
        yield
    except InputError as error:
        if not yes or "--offline" not in error.line():
            raise
        found = error.found.partition(", but --offline")[0]
        raise UsageError(f"{found}, and it would be downloaded", hint="Where you trust what names it, add --trust.") from error
    finally:
        UNTRUSTED.reset(token)


def load_classifier(
    spec: str | os.PathLike[str] = DEFAULT,
    *,
    weights: str | Path | None = None,
    resize: Side | None = None,
    crop: Side | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    channels: int | None = None,
    window: str | None = None,
    input_scale: float | None = None,
    input_order: str | None = None,
    fast_decode: bool | None = None,
    frames: int | None = None,
    frame_step: int | None = None,
    classes: str | Path | None = None,
    prompts: str | Sequence[str] | None = None,
    template: str | Sequence[str] | None = None,
    layer: str = "auto",
    outputs: str | None = None,
    output_name: str = "",
    device: str | torch.device = "auto",
    precision: str = "auto",
    engine: str = "auto",
    offline: bool = False,
    progress: bool = False,
    trust: bool = True,
    notice: Notice | None = None,
) -> Classifier:
    """The classifier that a specification names.

    spec: as on the command line, or the path of a file. weights: a file (.safetensors, or a state dict in .pth) in place of the
    source's own; resize, crop, interpolation, mean, std, window, input_scale, input_order, fast_decode: parts of the view that
    replace the weights' own; channels: how many the network takes, detected if not given; frames: of a sequence that the network
    reads, a network of photos one by one as the mean of their logits; frame_step: of how many frames one is taken; classes: a
    file of class names, or of prompts; prompts: texts that are the classes of a text-image model, as a list or joined by commas;
    template: a sentence, or several, with {} in the place of each prompt; layer: the feature layer; outputs: `softmax`, `sigmoid`
    or `values`, detected if not given; output_name: the key or index of the outputs, if a network returns a tuple or dict;
    device: `auto`, `cpu`, `cuda`, `mps`; precision: `auto`, `fp32`, `bf16`, of passes that only mask the input; engine: `auto`,
    `torch`, `compile`, `openvino` or `onnxruntime`, what runs passes without gradients (see `xaicli.passes.engine`); offline:
    forbids downloads; progress: shows a bar for them; trust: whether the user's own code may run; notice: called with each line
    that a user should read (by default they go to the log `xaicli`). Raises UsageError, InputError, RunError.
    """
    spec = specification(spec)
    parsed = parse_spec(spec)
    load, name = source_of(parsed.name)
    notice = notice or logger.info
    given = None if classes is None else read_classes(Path(classes))
    overrides = Overrides(
        resize, crop, interpolation, mean, std, channels, window, input_scale, input_order, fast_decode, frames, frame_step
    )
    place, engine = resolve_device(device), checked_engine(engine)
    request = Request(
        name=name,
        flag=parsed.flag,
        weights=weights_of(parsed, weights),
        layer=dict(parsed.params).get("layer", ""),
        device=place,
        any_device=str(device) == "auto",
        offline=offline or is_offline() or UNTRUSTED.get(),
        progress=progress,
        trust=trust and not UNTRUSTED.get(),
        notice=notice,
        prompts=read_prompts(prompts, template, given),
        outputs=outputs_named(outputs),
        output_name=output_name,
    )
    if load not in TAKE_PROMPTS:
        request.prompts.refuse(spec)
    if load not in CAN_BE_CUT:
        request.refuse_layer(parsed.name)
    # Weights created in inference mode could never have gradients.
    if request.weights is not None and load not in TAKE_CHECKPOINTS and is_checkpoint(request.weights):
        raise UsageError(f"{request.weights.name} is a network of its own", hint=f"Write --model {request.weights} alone.")
    with contained(f"{spec}, when it was loaded,"), whole_installation(), torch.inference_mode(False):
        loaded = load(request)
        made = assemble(
            loaded,
            device=place,
            precision=precision,
            overrides=overrides,
            classes=given,
            layer=layer,
            outputs=request.outputs,
            output_name=request.output_name,
            notice=notice,
        )
        return dataclasses.replace(made, engine=engine)


def specification(given: object) -> str:
    """A specification as text, of a path too; raises UsageError, of a network with what to write."""
    if isinstance(given, os.PathLike):
        return escape(os.fspath(given))
    if isinstance(given, str):
        return given
    hint = "Wrap it first: xaicli.classifier(network, resize=…, crop=…, classes=[…])." if isinstance(given, nn.Module) else ""
    raise UsageError(f"{type_of(given)} names no model", expected='text such as "resnet50" or "net.py:make"', hint=hint)


def source_of(name: str) -> tuple[Load, str]:
    """The source of a specification without its qualifiers, and the rest of the name; raises UsageError or InputError."""
    prefix, colon, rest = name.partition(":")
    sources = {fold(known): load for known, load in SOURCES.items()}
    if colon and fold(prefix) in sources:
        if not rest.strip():
            raise UsageError(f'"{name}" names no model', expected=FORMS)
        return sources[fold(prefix)], rest.strip()
    if re.search(r"\.py(:|$)", name):
        return from_file.load, name
    ending = Path(name).suffix.lower()
    if ending in PROGRAMS:
        return PROGRAMS[ending], name
    if fold(name) in map(fold, OURS):
        return from_checkpoint.load_bundled, name
    if ending in WEIGHTS_ENDINGS:
        if is_checkpoint(Path(name).expanduser()):
            return from_checkpoint.load, name
        if is_script(Path(name).expanduser()):
            return from_script.load, name
        if not is_there(Path(name).expanduser()):
            raise InputError(f"there is no file {name}", expected=FORMS)
        if is_exported_program(Path(name).expanduser()):
            raise InputError(f"{name} is a program saved by torch.export", expected="the ending .pt2")
        raise InputError(f"{name} holds weights, not a network", hint=f"Type: --model NAME --weights {name}")
    refuse_other_runtimes(name, ending)
    if is_file(Path(name, "config.json")):
        raise UsageError(f"{name} is a folder", hint=f"For a model of transformers write hf:{name}.")
    if colon:
        raise UsageError(f'no source of models "{prefix}"', expected=FORMS)
    return from_torchvision.load, name


def says_nothing_of_photos(spec: str) -> bool:
    """Whether a model's file does not say how photos are prepared for it."""
    return source_of(parse_spec(spec).name)[0] in WITHOUT_VIEW


def weights_of(spec: Spec, given: str | Path | None) -> Path | None:
    """The weights file of `--weights`, or of `@weights=` in the specification; raises UsageError for qualifiers that no model
    has."""
    if spec.base is not None or any(key not in QUALIFIERS for key, _ in spec.params):
        key = "base" if spec.base is not None else next(key for key, _ in spec.params if key not in QUALIFIERS)
        raise UsageError(f'a model has no parameter "{key}"', expected="@weights=FILE, or @WEIGHTS by name")
    stated = dict(spec.params).get("weights")
    if stated is not None and given is not None:
        raise UsageError("weights are given twice, after the model's name and by --weights", hint="Keep one of them.")
    chosen = given if given is not None else stated
    return None if chosen is None else Path(chosen).expanduser()
