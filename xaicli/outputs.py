"""The kinds of a model's outputs, and what they say about a target: the only place that distinguishes softmax, sigmoid and
values.

| outputs | the number of a target, for gradients | its probability, for masking and scoring |
|---|---|---|
| softmax: one class is right | logit | softmax over the classes |
| sigmoid: each label is right or not | logit | sigmoid of that logit |
| values: quantities, such as an age | value | the value itself: metrics that need a probability refuse |
| region: classes of a region of a class map | mean logit over the region | mean probability over the region |
| boxes: boxes of the clean photo | class score of the proposal that matches | its similarity to the box |

Of the first three the outputs (B, C) are the logits, or values, themselves. Of a region they are (B, 3C): C mean logits, C mean
probabilities, since neither follows from the other, and C overlaps with the clean prediction. Of T boxes they are likewise
(B, 2T): T scores, then T similarities.
"""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from xaicli.errors import UsageError, did_you_mean

SMALLEST_PROBABILITY = 1e-38
"""The smallest probability whose logarithm is taken; float32 has no smaller number."""
HALF = 0.5
"""A box counts as found if a proposal is at least this similar to it."""
NEAREST_TO_ONE = 1e-7
"""Applied sigmoids are undone up to this distance from 0 and 1; float32 cannot distinguish values closer to them."""


class Outputs(enum.Enum):
    """The kind of a model's outputs (B, C)."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    VALUES = "values"
    REGION = "region"
    BOXES = "boxes"

    @property
    def blocks(self) -> int:
        """How many numbers the outputs hold of each class, the first of all classes first: scores, probabilities, overlaps."""
        return {Outputs.REGION: 3, Outputs.BOXES: 2}.get(self, 1)

    def block(self, logits: Tensor, at: int) -> Tensor:
        """The numbers (B, C) at that position among those of each class."""
        count = logits.shape[1] // self.blocks
        return logits[:, at * count : (at + 1) * count]

    def columns(self, count: int) -> int:
        """How many columns outputs of `count` targets have."""
        return self.blocks * count

    def scores(self, logits: Tensor) -> Tensor:
        """The number of each class (B, C), for gradients and for the order of classes."""
        return self.block(logits, 0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The probability of each class for logits (B, C): softmax, or each label's sigmoid; values are unchanged."""
        if self is Outputs.SOFTMAX:
            return logits.softmax(dim=1)
        if self.blocks > 1:
            return self.block(logits, 1)
        return logits.sigmoid() if self is Outputs.SIGMOID else logits

    def overlaps(self, logits: Tensor) -> Tensor:
        """Of a region, the intersection over union (B, C) of each class with the clean prediction; NaN of all other outputs."""
        return self.block(logits, 2) if self is Outputs.REGION else torch.full_like(self.scores(logits), torch.nan)

    def undo(self, probabilities: Tensor) -> Tensor:
        """Logits of probabilities (B, C): their logarithm, which differs from the logits by a constant a photo, or the inverse of
        the sigmoid; values are unchanged."""
        if self is Outputs.SOFTMAX:
            return probabilities.clamp_min(SMALLEST_PROBABILITY).log()
        if self is Outputs.SIGMOID:
            return probabilities.clamp(NEAREST_TO_ONE, 1 - NEAREST_TO_ONE).logit()
        return probabilities

    def log_odds(self, logits: Tensor, index: int) -> Tensor:
        """log(p / (1 - p)) (B,) of class `index`, from logits (B, C), so that it is exact near p = 1; NaN for values."""
        chosen = logits[:, index]
        if self is Outputs.VALUES:
            return torch.full_like(chosen, torch.nan)
        if self is Outputs.SIGMOID:
            return chosen
        if self.blocks > 1:
            return self.probabilities(logits)[:, index].clamp(NEAREST_TO_ONE, 1 - NEAREST_TO_ONE).logit()
        others = logits.clone()
        others[:, index] = -torch.inf
        return chosen - others.logsumexp(dim=1)

    def decided(self, logits: Tensor, index: int) -> Tensor:
        """1 if the model decides for class `index`, else 0, (B,): no logit is larger; for labels p is at least 0.5, for a box its
        similarity; NaN for values, which decide nothing."""
        if self is Outputs.BOXES:
            return (self.probabilities(logits)[:, index] >= HALF).float()
        if self is Outputs.REGION:
            shares = self.probabilities(logits)
            return (shares[:, index] >= shares.amax(dim=1)).float()
        chosen = logits[:, index]
        if self is Outputs.VALUES:
            return torch.full_like(chosen, torch.nan)
        return (chosen >= (0.0 if self is Outputs.SIGMOID else logits.amax(dim=1))).float()


def outputs_named(name: str | Outputs | None) -> Outputs | None:
    """The kind of that name (`softmax`, `sigmoid`, `values`); None for None. Raises UsageError for an unknown name."""
    if name is None or isinstance(name, Outputs):
        return name
    known = [kind.value for kind in (Outputs.SOFTMAX, Outputs.SIGMOID, Outputs.VALUES)]
    if name.lower() not in known:
        raise UsageError(f'no outputs are called "{name}"', expected=", ".join(known), hint=did_you_mean(name, known))
    return Outputs(name.lower())
