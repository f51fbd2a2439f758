"""Copies of a sequence in which the frames from some moment on are hidden, wholly or in one region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.images.view import View
from xaicli.passes.baselines import baseline_inputs

Removal = Literal["freeze", "blur", "mean", "zero"]


@dataclass(frozen=True)
class Hidden:
    """One copy: the sequence as if it had ended at `time`, with frames `first` and later hidden in a region; None hides none."""

    time: int
    first: int | None = None
    region: int = 0


@dataclass(frozen=True, eq=False)
class Sequence:
    """One sequence. frames: (F, C, H, W); replaced: the same, what hidden frames become, None where the frame before the window
    is repeated; labels: the region at each pixel, (H, W), None where all of a frame is one."""

    frames: Tensor
    replaced: Tensor | None
    labels: Tensor | None

    @classmethod
    def of(cls, inputs: Tensor, view: View, removal: Removal, labels: Tensor | None) -> Sequence:
        """A sequence of its input (F C, H, W)."""
        replaced = (
            None if removal == "freeze" else baseline_inputs(removal, view, inputs[None])[0].unflatten(0, (view.frames, -1))
        )
        return cls(inputs.unflatten(0, (view.frames, -1)), replaced, labels)

    @property
    def regions(self) -> int:
        return 1 if self.labels is None else int(self.labels.max()) + 1

    def copies(self, times: range, window: int) -> list[Hidden]:
        """All copies: for each time one with nothing hidden; then for each time and region those with the last 1, 2, ... `window`
        frames hidden, or fewer where the sequence begins."""
        whole = [Hidden(time) for time in times]
        return whole + [
            Hidden(time, time - back, region)
            for time in times
            for region in range(self.regions)
            for back in range(min(window, time + 1))
        ]

    def write(self, out: Tensor, copies: list[Hidden]) -> None:
        """Write copies into `out` (n, F C, H, W)."""
        for place, copy in zip(out, copies, strict=True):
            place.copy_(self.with_hidden(copy).flatten(0, 1))

    def with_hidden(self, copy: Hidden) -> Tensor:
        """The frames (F, C, H, W) of one copy; frames after its time repeat the one at that time."""
        shown = self.ended(self.frames, copy.time)
        if copy.first is None:
            return shown
        hidden = self.hidden_from(copy.first, copy.time)
        if self.labels is not None:
            hidden = torch.where(self.labels == copy.region, hidden, shown[copy.first :])
        return torch.cat([shown[: copy.first], hidden])

    def hidden_from(self, first: int, time: int) -> Tensor:
        """What frames `first` and later become, (F - first, C, H, W)."""
        if self.replaced is not None:
            return self.ended(self.replaced, time)[first:]
        # Of a sequence that is hidden from its beginning on, there is no frame to repeat.
        still = self.frames[first - 1] if first else torch.zeros_like(self.frames[0])
        return still.expand(len(self.frames) - first, *still.shape)

    @staticmethod
    def ended(frames: Tensor, time: int) -> Tensor:
        """Frames as if the sequence had ended at a time."""
        return frames[torch.arange(len(frames)).clamp_max(time)]
