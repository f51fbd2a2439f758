"""Altered copies of photos that a metric runs through the model, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.outputs import Outputs
from xaicli.targets import NO_CLASS


@dataclass(frozen=True, eq=False)
class Copies:
    """`count` altered copies of the photo of one item of a case.

    write(out, start, stop): writes copies `start` to `stop` into `out` (stop - start, 3, H, W), as in `CopyJob`. shared: a key;
    single copies of a photo with the same key run once for all metrics and methods scored together. kept: of copies from which
    patches are left out, with nothing in their place (`without_patches`), those that stay, (count, patches) bool; nothing is
    written then.
    """

    item: int
    count: int
    write: Callable[[Tensor, int, int], None]
    shared: Hashable = None
    kept: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of M copies for the target of each: all (M,).

    log_odds: the logarithm of p / (1 - p), computed from logits, so that it is exact where p is near 1; under a contrast A-B the
    difference of the two logits, the log-odds of A where only A and B are open; NaN where the outputs are values. logit: of the
    target, or the same difference. decided: 1 where the model decides for the target: no other class has a larger logit, or the
    label's probability is at least 0.5. overlap: of a region of a class map, the intersection over union of the target with the
    clean prediction; NaN of all else, and under a contrast.
    """

    log_odds: Tensor
    logit: Tensor
    decided: Tensor
    overlap: Tensor
    outputs: Outputs = Outputs.SOFTMAX

    @property
    def probability(self) -> Tensor:
        """Probability of the target, 0 to 1; for a contrast A-B, of A if only A and B are possible; the value itself if the
        outputs are values."""
        return self.logit if self.outputs is Outputs.VALUES else self.log_odds.sigmoid()

    def __getitem__(self, rows: slice | Tensor) -> Outcomes:
        return Outcomes(self.log_odds[rows], self.logit[rows], self.decided[rows], self.overlap[rows], self.outputs)

    def view(self, *shape: int) -> Outcomes:
        log_odds, logit, decided, overlap = (part.view(shape) for part in (self.log_odds, self.logit, self.decided, self.overlap))
        return Outcomes(log_odds, logit, decided, overlap, self.outputs)

    @classmethod
    def empty(cls, count: int, device: torch.device, outputs: Outputs = Outputs.SOFTMAX) -> Outcomes:
        log_odds, logit, decided, overlap = torch.empty(4, count, device=device)
        return cls(log_odds, logit, decided, overlap, outputs)

    def put(self, at: int, logits: Tensor, index: int, against: int) -> None:
        """Write the outcomes of logits (n, C) for one target from index `at` on; nothing leaves the device."""
        rows = slice(at, at + len(logits))
        chosen = logits[:, index]
        if against == NO_CLASS:
            self.log_odds[rows] = self.outputs.log_odds(logits, index)
            self.logit[rows] = chosen
            self.decided[rows] = self.outputs.decided(logits, index)
            self.overlap[rows] = self.outputs.overlaps(logits)[:, index]
        else:
            difference = chosen - logits[:, against]
            self.log_odds[rows] = torch.nan if self.outputs is Outputs.VALUES else difference
            self.logit[rows], self.decided[rows], self.overlap[rows] = difference, (difference > 0).float(), torch.nan


def replaced(item: int, ranks: Tensor, counts: Tensor, first: Tensor, rest: Tensor) -> Copies:
    """Copies whose `counts[i]` highest ranked pixels come from `first` and the others from `rest`.

    ranks: (H, W) int32, of a sequence (F, H, W); counts: (K,) int32 on the same device; first, rest: (3, H, W) or (3 F, H, W).
    """
    apart = per_frame(ranks)

    def write(out: Tensor, start: int, stop: int) -> None:
        taken = apart < counts[start:stop].view(-1, 1, 1, 1, 1)
        frames = (-3, (len(apart), -1))
        torch.where(taken, first.unflatten(*frames), rest.unflatten(*frames), out=out.unflatten(*frames))

    return Copies(item, len(counts), write)


def per_frame(places: Tensor) -> Tensor:
    """Something at each pixel of a photo (H, W) or of all frames of a sequence (F, H, W), for inputs whose frames are an axis of
    their own: (1, 1, H, W) or (F, 1, H, W), the same for all channels of a frame."""
    return places[None, None] if places.ndim == 2 else places[:, None]


def blended(item: int, masks: Tensor, photo: Tensor, baseline: Tensor, shared: Hashable = None) -> Copies:
    """Copies that blend linearly between `photo` (3, H, W), where a mask (K, H, W) is 1, and `baseline`, where it is 0; of a
    sequence, photo and baseline are (3 F, H, W) and masks (K, F, H, W)."""

    def write(out: Tensor, start: int, stop: int) -> None:
        shown = torch.stack([per_frame(mask) for mask in masks[start:stop]])
        frames = (-3, (shown.shape[1], -1))
        torch.lerp(baseline.unflatten(*frames), photo.unflatten(*frames), shown, out=out.unflatten(*frames))

    return Copies(item, len(masks), write, shared)


def whole(item: int, picture: Tensor, shared: Hashable = None) -> Copies:
    """One copy: `picture` (3, H, W), unchanged."""

    def write(out: Tensor, start: int, stop: int) -> None:
        out.copy_(picture.expand_as(out))

    return Copies(item, 1, write, shared)


def without_patches(item: int, kept: Tensor, shared: Hashable = None) -> Copies:
    """Copies with some of the patches of a vision transformer alone; kept: (count, patches) bool."""

    def write(out: Tensor, start: int, stop: int) -> None:
        raise AssertionError("a copy without patches is no picture")

    return Copies(item, len(kept), write, shared, kept)
