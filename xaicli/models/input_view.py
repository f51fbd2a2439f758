"""The view of a loaded network, from its source, the user's settings and the number of channels that the network takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xaicli.containment import contained
from xaicli.errors import UsageError, XaiError
from xaicli.images.view import View
from xaicli.images.view_values import MOST_CHANNELS, join, per_channel
from xaicli.words import count

Side = int | tuple[int, int]

COLOURS = 3


@dataclass(frozen=True)
class Overrides:
    """The user's settings for the view; None keeps the weights' own.

    mean, std: a number per channel, or one for all; channels: how many the network takes, detected if not given; frames,
    frame_step: of a sequence (`xaicli.models.reading_frames`).
    """

    resize: Side | None = None
    crop: Side | None = None
    interpolation: str | None = None
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    channels: int | None = None
    window: str | None = None
    input_scale: float | None = None
    input_order: str | None = None
    fast_decode: bool | None = None
    frames: int | None = None
    frame_step: int | None = None

    def of_detector(self) -> Overrides:
        """The same for a detector, whose input is never cropped: one number is the side of a square."""
        return dataclasses.replace(self, resize=(self.resize, self.resize)) if isinstance(self.resize, int) else self

    def apply(self, view: View, module: nn.Module | None = None, name: str = "the network") -> View:
        """The view with the user's settings, for as many channels as the network takes.

        If channels or scale differ from the source's, its mean and standard deviation no longer apply: they become 0 and 1 unless
        they are stated. Raises UsageError.
        """
        plain: dict[str, Any] = {"resize": self.resize, "crop": self.crop, "interpolation": self.interpolation}
        plain |= {"window": self.window, "scale": self.input_scale, "order": self.input_order, "fast_decode": self.fast_decode}
        channels = self.channels_for(view, module, name)
        scale = view.scale if self.input_scale is None else self.input_scale
        kept = channels == view.channels and scale == view.scale
        colours: dict[str, Any] = {
            "mean": self.stated("mean", self.mean, channels, name, scale) or (view.mean if kept else (0.0,) * channels),
            "std": self.stated("std", self.std, channels, name, scale) or (view.std if kept else (1.0,) * channels),
        }
        changes = {key: value for key, value in plain.items() if value is not None}
        changes |= {key: value for key, value in colours.items() if value != getattr(view, key)}
        return dataclasses.replace(view, **changes) if changes else view

    def channels_for(self, view: View, module: nn.Module | None, name: str) -> int:
        """How many channels the network takes: as stated, else as detected, else the number of stated means."""
        if self.channels is not None:
            whole = isinstance(self.channels, int) and not isinstance(self.channels, bool)
            if not whole or not 1 <= self.channels <= MOST_CHANNELS:
                raise UsageError(f"channels {self.channels!r:.30}", expected=f"a whole number from 1 to {MOST_CHANNELS}")
            self.check_stated(self.channels, view, module, name)
            return self.channels
        if view.channels != COLOURS:
            return view.channels
        own = None if module is None else first_channels(module)
        if own in (None, COLOURS):
            counts = [len(given) for given in (self.mean, self.std) if isinstance(given, Sequence) and len(given) > 1]
            return counts[0] if own is None and counts else COLOURS
        assert module is not None
        assert own is not None
        return COLOURS if takes(module, COLOURS, view, name) else own

    @staticmethod
    def check_stated(channels: int, view: View, module: nn.Module | None, name: str) -> None:
        """Raise UsageError where a network takes as many channels as its first convolution, and not those that are stated."""
        own = None if module is None else first_channels(module)
        if module is None or own is None or own == channels:
            return
        if not takes(module, channels, view, name) and takes(module, own, view, name):
            found = f"--channels {channels}, but {name} takes {own} channel{'s' if own != 1 else ''}"
            raise UsageError(found, expected=f"--channels {own}, or none")

    @staticmethod
    def stated(
        what: str, given: Sequence[float] | float | None, channels: int, name: str, scale: float
    ) -> tuple[float, ...] | None:
        """One number per channel, from one number for all or one for each; raises UsageError for any other count."""
        if given is None:
            return None
        numbers = per_channel(what, (given,) if isinstance(given, int | float) else given, scale)
        if len(numbers) == 1:
            return numbers * channels
        if len(numbers) != channels:
            took = f"{name} takes {channels} channel{'s' if channels != 1 else ''}"
            raise UsageError(
                f"{what} {join(numbers)} has {count(len(numbers), 'number')}, but {took}",
                expected=f"{count(channels, 'number')}, or one for all",
                hint=f"Where the network takes {count(len(numbers), 'channel')}, add --channels {len(numbers)}.",
            )
        return numbers


def first_channels(module: nn.Module) -> int | None:
    """The input channels of a network's first convolution, in the order of its modules; None without one."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)), None)
    return None if first is None or not 1 <= first.in_channels <= MOST_CHANNELS else first.in_channels


def takes(module: nn.Module, channels: int, view: View, name: str) -> bool:
    """Whether a network runs on inputs with that many channels; the caller's random state is restored."""
    at = next((tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()), None)
    inputs = torch.zeros(2, channels, *view.size).to(at if at is not None else torch.zeros(()))
    try:
        with contained(name), torch.random.fork_rng(devices=[]), torch.no_grad():
            module(inputs)
    except XaiError:
        return False
    return True
