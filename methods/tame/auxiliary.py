"""The auxiliary network of P-TAME: small, with layers to look at, in the place of one that may have none."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.words import count

FIRST, BUNDLED = "torchvision:resnet18", "tiny"
"""The published auxiliary network, taken where its weights are on this machine; and the one that ships with the package."""


def open_auxiliary(spec: str, device: torch.device, *, trust: bool, offline: bool = False) -> Classifier:
    """The network of a specification; raises XaiError where it cannot be had, or is a black box.

    trust: whether it may be code of the user's own: only where the user named it, not where a checkpoint does.
    """
    made = load_classifier(spec, device=device, trust=trust, offline=offline)
    if made.module is None:
        raise UsageError(f"the auxiliary network {spec} is a black box", expected="a network with layers", hint="Try resnet18.")
    return made


@functools.lru_cache(maxsize=2)
def recorded_auxiliary(spec: str, device: torch.device, fingerprint: str, source: str, *, trust: bool) -> Classifier:
    """The network that the checkpoint `source` was trained with, opened once for many batches; raises InputError for another one.

    The recorded fingerprint is part of the key: a file that is replaced under the same name is opened again.
    """
    made = open_auxiliary(spec, device, trust=trust)
    if made.weights_fingerprint != fingerprint:
        raise InputError(
            f"{source} reads an auxiliary network of fingerprint {fingerprint}, and {made.name} has {made.weights_fingerprint}",
            expected="the same network, weights and view",
            hint="Name it: p-tame@auxiliary=SPEC.",
        )
    return made


def default_auxiliary(device: torch.device) -> tuple[str, Classifier]:
    """Specification and network: torchvision's ResNet-18 where its weights are on this machine, else the bundled network, else
    ResNet-18 by download."""
    for spec, offline in ((FIRST, True), (BUNDLED, True)):
        try:
            return spec, open_auxiliary(spec, device, trust=False, offline=offline)
        except InputError:
            continue
    return FIRST, open_auxiliary(FIRST, device, trust=False)


def seen_by(auxiliary: View, inputs: Tensor, view: View) -> Tensor:
    """Inputs (B, 3, H, W) that were prepared for `view`, as the auxiliary network takes them: its colours, and its size."""
    if view.channels != auxiliary.channels:
        raise UsageError(
            f"a network of {count(view.channels, 'channel')} beside an auxiliary one of {auxiliary.channels}",
            expected="as many channels",
            hint="Use t-tame, which needs no auxiliary network.",
        )
    if (auxiliary.mean, auxiliary.std, auxiliary.scale, auxiliary.order) != (view.mean, view.std, view.scale, view.order):
        pixels = view.unnormalise(inputs)
        inputs = auxiliary.normalise(pixels if auxiliary.order == view.order else pixels.flip(1))
    if tuple(inputs.shape[2:]) == auxiliary.size:
        return inputs
    return functional.interpolate(inputs, auxiliary.size, mode="bilinear", align_corners=False, antialias=True)
