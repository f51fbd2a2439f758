"""Occlusion: a window slides over the photo, and the fall of the score is written down where it hides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.compute.baselines import BASELINE_HELP, Baseline, baseline_inputs
from xaicli.compute.coalitions import SCORE_HELP, Score, clean_scores, scores_of
from xaicli.compute.masked import Block, clean_logits, run
from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.models.classifier import Classifier
from xaicli.targets import Resolved, Targets

AUTO_WINDOW = 7
"""A window is this part of the input's shorter side: 32 pixels of 224."""


@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    """Fall of the score when a window that slides over the photo hides part of it.

    Maps (B, T, H, W) at the input's size, signed: each pixel has the mean fall over the windows that hide it. Windows begin
    at the upper left corner; the last of a row or column may be cut off by the border.
    """

    window: int | Literal["auto"] = param("auto", "side in pixels; auto is a seventh of the input's shorter side", ge=1)
    stride: int | Literal["auto"] = param("auto", "pixels between windows, at most a window; auto is half a window", ge=1)
    baseline: Baseline = param("zero", BASELINE_HELP)
    score: Score = param("logit", SCORE_HELP)

    name = "occlusion"
    aliases = ("sliding-window",)
    paper = "Zeiler and Fergus, ECCV 2014, arXiv 1311.2901"
    masks_input = True
    needs = Needs.FORWARD

    @property
    def sign(self) -> Sign:
        return Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        size = classifier.view.size if classifier else (224, 224)
        window, stride = self.sides(size)
        return Cost(forward=1 + len(starts(size[0], window, stride)) * len(starts(size[1], window, stride)))

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        height, width = inputs.shape[-2:]
        window, stride = self.sides((height, width))
        down = covered(height, window, stride).to(inputs.device)
        across = covered(width, window, stride).to(inputs.device)
        scores = self.scores(classifier, inputs, down, across, chosen)
        falls = clean_scores(classifier, inputs, logits, chosen, self.score)[..., None, None] - scores
        hits = down.float().sum(dim=0)[:, None] * across.float().sum(dim=0)
        values = torch.einsum("yh,btyx,xw->bthw", down.float(), falls, across.float()) / hits
        return Maps(values, chosen, logits)

    def sides(self, size: tuple[int, int]) -> tuple[int, int]:
        """Window and stride in pixels; raises UsageError where windows are too large or leave gaps."""
        window = max(1, min(size) // AUTO_WINDOW) if self.window == "auto" else self.window
        stride = max(1, window // 2) if self.stride == "auto" else self.stride
        if window > min(size):
            found = f"occlusion: a window of {window} pixels on an input of {size[0]} x {size[1]}"
            raise UsageError(found, expected=f"at most {min(size)}")
        if stride > window:
            found = f"occlusion: stride {stride} leaves gaps between windows of {window} pixels"
            raise UsageError(found, expected=f"at most {window}")
        return window, stride

    def scores(self, classifier: Classifier, inputs: Tensor, down: Tensor, across: Tensor, chosen: Resolved) -> Tensor:
        """Scores (B, T, rows, columns) of photos that lack the window of one row and one column."""
        hidden = baseline_inputs(self.baseline, classifier.view, inputs)
        rows, columns = len(down), len(across)
        scores = torch.zeros(len(inputs), chosen.classes.shape[1], rows * columns, device=inputs.device)

        def block(row: int) -> Block:
            photo, base, own = inputs[row], hidden[row], chosen[row : row + 1]

            def fill(out: Tensor, start: int, stop: int) -> None:
                at = torch.arange(start, stop, device=photo.device)
                inside = down[at // columns][:, None, :, None] & across[at % columns][:, None, None, :]
                out.copy_(torch.where(inside, base, photo))

            def take(logits: Tensor, start: int, stop: int) -> None:
                scores[row, :, start:stop] = scores_of(own, logits, self.score).T

            return Block(rows * columns, fill, take)

        channels, height, width = inputs.shape[1:]
        run(classifier, (block(row) for row in range(len(inputs))), (channels, height, width), exact=False)
        return scores.reshape(len(inputs), -1, rows, columns)


def starts(side: int, window: int, stride: int) -> range:
    """Where windows begin along one axis: until they cover it."""
    return range(0, -(-(side - window) // stride) * stride + 1, stride)


def covered(side: int, window: int, stride: int) -> Tensor:
    """Which places of one axis each window hides: (windows, side) bool."""
    place = torch.arange(side)
    begin = torch.tensor(starts(side, window, stride))[:, None]
    return (place >= begin) & (place < begin + window)
