"""How many frames a network reads, and in which form: all of a clip together, or photo by photo."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.images.view import View
from xaicli.network.classifier import Classifier
from xaicli.network.nested import first_tensor
from xaicli.network.sequences import ClipNetwork, FrameByFrame, SequenceNetwork

FRAMES = 16
"""Frames of a clip where nothing says how many: as most video networks of torchvision were trained."""


def framed(view: View, module: nn.Module | None, frames: int | None, step: int | None, name: str) -> View:
    """The view with as many frames as are asked for, or else as the source says; without either, a network that begins with a 3-D
    convolution reads 16. Raises UsageError."""
    own = view.frames or (FRAMES if module is not None and begins_with_volumes(module) else 0)
    count = own if frames is None else frames
    if count < 1:
        if frames is not None:
            raise UsageError(f"frames {frames}", expected="at least 1")
        if step is not None:
            raise UsageError(f"a frame step, and {name} reads photos", hint="Give --frames N too.")
        return view
    if module is None:
        raise UsageError(f"{name} is a black box, which reads photos alone", hint="Sequences need a torch network.")
    return dataclasses.replace(view, frames=count, frame_step=view.frame_step if step is None else step)


def begins_with_volumes(module: nn.Module) -> bool:
    """Whether the first convolution of a network, in the order of its modules, is over time too."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)), None)
    return isinstance(first, nn.Conv3d)


def sequence_network(module: nn.Module, view: View, name: str) -> SequenceNetwork:
    """The network for sequences of the view's frames: it reads clips (B, C, F, H, W) if it can, else frames one by one."""
    if begins_with_volumes(module) or takes_clips(module, view, name):
        return ClipNetwork(module, view.frames)
    return FrameByFrame(module, view.frames)


def takes_clips(module: nn.Module, view: View, name: str) -> bool:
    """Whether a network runs on (B, C, F, H, W) and gives outputs (B, C); the caller's random state is restored."""
    at = next((tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()), None)
    inputs = torch.zeros(2, len(view.mean), view.frames, *view.size).to(at if at is not None else torch.zeros(()))
    try:
        with contained(name), torch.random.fork_rng(devices=[]), torch.no_grad():
            output = first_tensor(module(inputs))
    except XaiError:
        return False
    return output is not None and output.ndim == 2 and len(output) == len(inputs)


def refuse_places(classifier: Classifier) -> None:
    """Raise InputError where a network of sequences gives class maps or boxes."""
    given = "boxes" if classifier.decoding is not None else "class maps"
    found = f"{classifier.name} gives {given}, and those of several frames have no mean"
    raise InputError(found, expected="a classifier for --frames", hint="Explain single frames with --frame N.")
