"""Networks without weights: to be trained from the start, or to hold the weights of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models import from_file, from_timm, from_torchvision
from xaicli.models.bundled.residual import CompactResNet
from xaicli.models.bundled.transformer import CompactVisionTransformer
from xaicli.models.checkpoint import Checkpoint
from xaicli.network.classifier import Classifier
from xaicli.packages import import_torchvision, require
from xaicli.params import Definition, Spec, fold, param, parse_spec
from xaicli.python_file import split as split_file
from xaicli.words import count as counted

SMALL = View(64, 64)
"""The view of the bundled networks."""
FORMS = "tiny, tiny-vit, a name of torchvision, timm:NAME, or FILE.py:FUNCTION"


@dataclass(frozen=True, kw_only=True)
class Tiny(Definition):
    """A residual network of three stages for photos of 64 x 64 pixels."""

    widths: tuple[int, ...] = param((32, 64, 192), "channels of each stage", ge=1)
    blocks: tuple[int, ...] = param((1, 2, 3), "residual blocks of each stage, or one number for all", ge=1)
    strides: tuple[int, ...] = param((2, 1, 2, 2), "of the stem and of each stage; 1 in place of 2 makes finer features", ge=1)

    name = "tiny"

    def build(self, count: int) -> nn.Module:
        blocks = self.blocks * len(self.widths) if len(self.blocks) == 1 else self.blocks
        if len(self.widths) != len(blocks):
            found = f"tiny: widths of {counted(len(self.widths), 'stage')}, blocks of {len(blocks)}"
            raise UsageError(found, expected="as many, or one number of blocks for all")
        # Written for three stages, the default serves any number: stages after the first halve the side.
        usual = (2, 1) + (2,) * (len(self.widths) - 1)
        strides = usual if self.strides == (2, 1, 2, 2) else self.strides
        if len(strides) != len(self.widths) + 1:
            raise UsageError(f"tiny: {len(strides)} strides", expected=f"{len(self.widths) + 1}: of the stem and of each stage")
        return CompactResNet(count, self.widths, blocks, strides)


@dataclass(frozen=True, kw_only=True)
class TinyViT(Definition):
    """A vision transformer with a convolutional stem for photos of 64 x 64 pixels, 8 x 8 patches and a [class] token."""

    width: int = param(160, "channels of a token", ge=4)
    depth: int = param(6, "blocks", ge=1)
    heads: int = param(5, "heads of each attention", ge=1)
    drop_path: float = param(0.0, "share of photos whose last block is skipped in training", ge=0, lt=1)

    name = "tiny-vit"

    def build(self, count: int) -> nn.Module:
        if self.width % self.heads:
            raise UsageError(f"tiny-vit: {self.heads} heads do not divide the width {self.width}")
        side = SMALL.size[0]
        return CompactVisionTransformer(count, side, self.width, self.depth, self.heads, self.drop_path)


OURS: dict[str, type[Tiny] | type[TinyViT]] = {"tiny": Tiny, "tiny-vit": TinyViT}


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network with initial weights (drawn from torch's generator), its specification in canonical form, and its usual view."""

    spec: str
    module: nn.Module
    view: View


def build(text: str, count: int, *, trust: bool = False) -> Architecture:
    """The network that a specification names, with `count` outputs; raises UsageError where it names none.

    `tiny@widths=32+64+128`, `resnet18`, `torchvision:NAME@WEIGHTS` (which sets the view), `timm:NAME`; with `trust`
    `FILE.py:FUNCTION` too, which is run.
    """
    if trust and is_code(text):
        return of_file(text)
    spec = parse_spec(text)
    own = next((name for name in OURS if fold(name) == fold(spec.name)), None)
    if own is not None:
        if spec.flag or spec.base is not None:
            raise UsageError(f"{text} is not a network", expected=f"{own}, or {own}@PARAMETER=VALUE")
        definition = OURS[own].from_text(dict(spec.params))
        return Architecture(definition.label, definition.build(count), SMALL)
    if spec.params or spec.base is not None:
        raise UsageError(f"{spec.name} takes no parameters", expected=FORMS)
    prefix, colon, name = spec.name.partition(":")
    if colon and fold(prefix) == "timm":
        return of_timm(name, count)
    if colon and fold(prefix) != "torchvision":
        raise UsageError(f"{spec.name} cannot be built without weights", expected=FORMS)
    return of_torchvision(name if colon else spec.name, spec, count)


def of_torchvision(name: str, spec: Spec, count: int) -> Architecture:
    torchvision = import_torchvision()
    known = from_torchvision.classifiers(torchvision)
    if not any(fold(entry) == fold(name) for entry in known):
        raise UsageError(f'no network "{name}"', expected=FORMS, hint=did_you_mean(name, [*OURS, *known]))
    found = from_torchvision.find_name(name, known)
    entries = torchvision.models.get_model_weights(found)
    wanted = [entry for entry in entries if fold(entry.name) == fold(spec.flag)] if spec.flag else []
    if spec.flag and not wanted:
        raise UsageError(f'{found} has no weights "{spec.flag}"', expected=", ".join(entry.name for entry in entries))
    view = from_torchvision.view_of(wanted[0] if wanted else entries.DEFAULT) if len(entries) else View()
    # Auxiliary heads serve special training recipes, and their outputs come in a tuple.
    extra = {"aux_logits": False} if found in ("googlenet", "inception_v3") else {}
    module = torchvision.models.get_model(found, weights=None, num_classes=count, **extra)
    return Architecture(f"torchvision:{found}", module, view)


def of_timm(name: str, count: int) -> Architecture:
    timm = require("timm", "timm")
    found = from_timm.find_name(timm, name)
    module = timm.create_model(found, pretrained=False, num_classes=count)
    view = from_timm.view_of(timm.data.resolve_model_data_config(module), lambda text: None)
    return Architecture(f"timm:{found}", module, view)


def record(spec: str, count: int) -> dict[str, Any]:
    """What `rebuild` needs to know about a network; part of a checkpoint's metadata."""
    return {"spec": spec, "count": count}


def rebuild(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint, as its architecture builds it; raises InputError if it holds none, if its record is damaged,
    or if its architecture is the user's code, which no file may run."""
    entry = checkpoint.metadata.get("architecture")
    name = checkpoint.path.name
    if not isinstance(entry, Mapping) or not isinstance(entry.get("spec"), str) or not isinstance(entry.get("count"), int):
        raise InputError(
            f"{name} holds no network: it explains {checkpoint.metadata.get('classifier', 'another one')}",
            hint=f"Write --model SPEC --method {checkpoint.metadata['method']}@checkpoint={name}.",
        )
    if is_code(entry["spec"]):
        hint = f"Write --model PATH/{entry['spec']} --weights {name}."
        raise InputError(f"{name} is a network of your own code, {entry['spec']}", expected="to be told where it is", hint=hint)
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        return build(entry["spec"], entry["count"]).module


def is_code(spec: str) -> bool:
    """Whether a specification names a function in a file."""
    return re.search(r"\.py(:|$)", spec) is not None


def of_file(text: str) -> Architecture:
    """The network that a user's function returns, with its weights; it must have as many outputs as there are classes."""
    file, name = split_file(text)
    made = from_file.call(file, name)
    module = made.module if isinstance(made, Classifier) else made
    if not isinstance(module, nn.Module):
        raise InputError(f"{file.name}:{name} gives no torch module", expected="a network that can be trained")
    return Architecture(f"{file.name}:{name}", module, made.view if isinstance(made, Classifier) else View())
