"""The source of differences between passes: dropout that stays on, or photos that are flipped and slightly changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from xaicli.images.view import View
from xaicli.passes.seeds import stream

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

BRIGHTNESS, CONTRAST, GRAIN = 0.2, 0.2, 0.05
"""Largest relative change of brightness and of contrast, and standard deviation of the noise, of colours in 0..1."""


def dropouts(module: nn.Module) -> list[_DropoutNd]:
    """The dropout layers of a network."""
    return [part for part in module.modules() if isinstance(part, DROPOUTS) and part.p > 0]


@contextmanager
def dropping(module: nn.Module, seeds: Tensor, number: int) -> Iterator[None]:
    """Turn dropout on inside the `with`, for pass `number`; everything else stays in evaluation mode.

    What is dropped depends only on the photo's seed, the pass and the layer. So photos of a batch do not influence each other,
    and the same pass can be repeated.
    """
    with ExitStack() as stack:
        for place, part in enumerate(dropouts(module)):
            dropper = Dropper(part.p, seeds.tolist(), f"dropout {number} {place}")
            stack.callback(part.register_forward_hook(dropper).remove)
        yield


class Dropper:
    """A hook for one dropout layer, which passes its input on in evaluation mode."""

    def __init__(self, share: float, seeds: list[int], purpose: str) -> None:
        self.share, self.seeds, self.purpose, self.calls = share, seeds, purpose, 0

    def __call__(self, part: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        self.calls += 1
        drawn = self.shape(part, output)
        draws = [stream(seed, self.purpose, self.calls).random(drawn[1:], dtype="float32") for seed in self.seeds]
        kept = torch.stack([torch.from_numpy(draw) for draw in draws]).to(output.device) >= self.share
        return output * kept / (1 - self.share) if self.share < 1 else output * 0

    def shape(self, part: nn.Module, output: Tensor) -> tuple[int, ...]:
        """Elements that are dropped together share one draw: those of a channel, if the layer drops channels."""
        if isinstance(part, nn.Dropout):
            return tuple(output.shape)
        return (*output.shape[:2], *(1 for _ in output.shape[2:]))


def altered(inputs: Tensor, view: View, seeds: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Photos (B, C, H, W) as pass `number` sees them: brightness, contrast and grain changed, every other one mirrored.

    Also which are mirrored (B,) bool. What is changed of a photo depends on its seed and the pass alone.
    """
    changed, mirrored = [], []
    for photo, seed in zip(view.pixels(inputs), seeds.tolist(), strict=True):
        draws = stream(seed, "augment", number)
        brightness, contrast = 1 + BRIGHTNESS * draws.uniform(-1, 1), 1 + CONTRAST * draws.uniform(-1, 1)
        mirrored.append(bool(draws.random() < 0.5))
        grain = torch.from_numpy(draws.normal(0, GRAIN, tuple(photo.shape)).astype("float32")).to(photo.device)
        middle = photo.mean(dim=(1, 2), keepdim=True)
        one = ((photo - middle) * contrast + middle) * brightness + grain
        changed.append(one.flip(2) if mirrored[-1] else one)
    return view.normalise(torch.stack(changed).clamp(0, 1)), torch.tensor(mirrored, device=inputs.device)
