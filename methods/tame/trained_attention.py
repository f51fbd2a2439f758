"""Trained attention out of checkpoints, and how it reads a network's layers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import InputError, UsageError
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.models.checkpoint import Checkpoint
from xaicli.network.layers import FeatureLayer
from xaicli.network.taps import Features
from xaicli.network.tokens import Axes

Scaling = Literal["minmax", "sigmoid", "none"]

SMALLEST_RANGE = 1e-8
"""A map whose range is below this is not stretched to 0..1: what differs in it is rounding."""
CACHED = 4


@functools.lru_cache(maxsize=CACHED)
def head_of(checkpoint: Checkpoint, device: torch.device) -> AttentionHead:
    """The attention head that a checkpoint holds, frozen, in eval mode, on `device`; raises InputError where it is damaged."""
    record = checkpoint.metadata.get("attention")
    name = checkpoint.path.name
    if not isinstance(record, dict):
        raise InputError(f"{name} holds no attention", expected="a checkpoint of xai train t-tame or p-tame")
    # Building draws initial weights; the caller's random state stays as it was. Weights made in inference mode would be of no use
    # elsewhere.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        try:
            head = AttentionHead(**record)
            head.load_state_dict(checkpoint.state("attention"))
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the attention in {name} is damaged: {reason}", hint="Train it again, or copy it again.") from error
        return head.eval().requires_grad_(False).to(device)


def layer_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The layers that a checkpoint's attention reads."""
    names = checkpoint.metadata.get("layers")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{checkpoint.path.name} names no layers", expected="a checkpoint of xai train t-tame or p-tame")
    return tuple(names)


def require_channels(layers: Sequence[FeatureLayer], head: AttentionHead, what: str) -> None:
    """Raise InputError where layers have other channels than those that an attention was trained on."""
    found = [layer.channels for layer in layers]
    if found != list(head.channels):
        names = ", ".join(map(str, layers))
        raise InputError(f"{what}: layers {names} have {found} channels", expected=f"{list(head.channels)}, as it was trained on")


def require_class_token(layers: Sequence[FeatureLayer]) -> None:
    """Raise UsageError unless each layer has tokens with a class token before the patches."""
    for layer in layers:
        if layer.layout.axes is not Axes.TOKENS or layer.layout.prefix < 1:
            raise UsageError(f"cls_gate: layer {layer} has no class token", expected="a vision transformer with one")


def grids(features: Sequence[Features], *, cls_gate: bool = False) -> list[Tensor]:
    """What taps have read, as (B, C, h, w) float32; with `cls_gate` each patch is multiplied by the class token."""
    read = [feature.activation for feature in features]
    if not cls_gate:
        return read
    tokens = [feature.raw.detach()[:, 0].float() for feature in features]
    return [grid * token[:, :, None, None] for grid, token in zip(read, tokens, strict=True)]


def scaled(maps: Tensor, scaling: Scaling) -> Tensor:
    """Class maps (B, T, h, w) as they are shown: each from 0 to 1, or by the sigmoid of training, or as they are."""
    if scaling != "minmax":
        return maps.sigmoid() if scaling == "sigmoid" else maps
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(SMALLEST_RANGE)
