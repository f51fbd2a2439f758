"""Occlusion: a window slides over the photo, and the fall of the score is attributed to the hidden pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.occlusion.hidden_boxes import Receive, pass_with_hidden_boxes
from xaicli.methods.occlusion.hidden_patches import pass_without_patches
from xaicli.network.channels import channel_maps, reduce_channels
from xaicli.network.classifier import Classifier
from xaicli.network.kept_patches import REMOVE_HELP, Removed, patch_layout, require_patches
from xaicli.passes.baselines import BASELINE_HELP, Baseline, baseline_inputs
from xaicli.passes.explained_score import SCORE_HELP, Score, scores_of
from xaicli.passes.queue import clean_logits
from xaicli.targets import Resolved, Targets
from xaicli.words import count

Passes = Callable[[Receive], Tensor]
"""Runs the passes of all windows, hands their logits to a receiver, and returns those of the photos with nothing hidden."""

AUTO_WINDOW = 7
"""The window's side as a part of the input's shorter side: 32 of 224 pixels."""


@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    """Fall of the score when a window that slides over the photo hides part of it.

    `map(l) = mean over the windows that hide pixel l of (y - y_w)`: y is the target's logit, y_w the logit with window w
    replaced by the baseline. Maps are (B, T, H, W) at the input's size, signed, in logits or, with `score=probability`, in
    probability. Windows begin at the upper left corner; the last of a row or column may be cut off by the border.
    With `channels=each` a window hides one channel at a time: `extras["channels"]`, (B, T, C, H, W), holds the map of each, and
    the map is their sum.

    `remove=tokens`, for vision transformers with a class token: the patches whose centres a window covers are left out of the
    sequence, with nothing in their place, and maps are (B, T, rows, columns) of patches. This is another definition.

    `xai explain cat.jpg --method occlusion@window=32@stride=16`
    """

    window: int | Literal["auto"] = param("auto", "side in pixels; auto is a seventh of the input's shorter side", ge=1)
    stride: int | Literal["auto"] = param("auto", "pixels between windows, at most a window; auto is half a window", ge=1)
    baseline: Baseline = param("zero", BASELINE_HELP)
    score: Score = param("logit", SCORE_HELP)
    channels: Literal["all", "each"] = param(
        "all", "what a window hides: all channels, or each by itself, whose maps are summed and kept beside the sum", later=True
    )

    remove: Removed = param("pixels", REMOVE_HELP, later=True)

    name = "occlusion"
    aliases = ("sliding-window",)
    paper = "Zeiler and Fergus, ECCV 2014, arXiv 1311.2901"
    masks_input = True
    needs = Needs.FORWARD

    def __post_init__(self) -> None:
        super().__post_init__()
        painted = [name for name, given in (("baseline", self.baseline != "zero"), ("channels", self.channels != "all")) if given]
        if self.remove == "tokens" and painted:
            found = f"occlusion: remove=tokens leaves patches out, and {painted[0]} is of pixels"
            raise UsageError(found, hint=f"Leave out {painted[0]}.")

    @property
    def sign(self) -> Sign:
        return Sign.SIGNED

    def require(self, classifier: Classifier) -> None:
        if self.remove == "tokens":
            require_patches(classifier, self.label)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        size = classifier.view.size if classifier else (224, 224)
        window, stride = self.sides(size)
        windows = len(stretches(size[0], window, stride)) * len(stretches(size[1], window, stride))
        if self.channels == "each":
            return Cost(forward=1 + (3 + windows) * (classifier.view.channels if classifier else 3))
        return Cost(forward=4 + windows)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        inputs = inputs.detach()
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        (height, width), (window, stride) = inputs.shape[-2:], self.sides((inputs.shape[-2], inputs.shape[-1]))
        down, across = stretches(height, window, stride), stretches(width, window, stride)
        boxes = [(*rows, *columns) for rows in down for columns in across]
        over_rows, over_columns = covered(height, down).to(inputs.device), covered(width, across).to(inputs.device)
        if self.remove == "tokens":
            over_rows, over_columns = at_centres(over_rows, over_columns, patch_layout(classifier, self.label).grid)
        hits = over_rows.sum(dim=0)[:, None] * over_columns.sum(dim=0)

        def map_of(passes: Passes) -> Tensor:
            falls = self.falls(passes, inputs, len(boxes), chosen).reshape(len(inputs), -1, len(down), len(across))
            return torch.einsum("yh,btyx,xw->bthw", over_rows, falls, over_columns) / hits

        def painted(hidden: Tensor) -> Passes:
            return lambda receive: pass_with_hidden_boxes(classifier, inputs, hidden, boxes, receive)

        if self.remove == "tokens":
            patches = torch.einsum("yh,xw->yxhw", over_rows, over_columns).flatten(0, 1).flatten(1).bool()
            passes = partial(pass_without_patches, classifier, inputs, patches, what=self.label)
            return Maps(map_of(passes), chosen, logits)
        hidden = baseline_inputs(self.baseline, classifier.view, inputs)
        if self.channels == "all":
            return Maps(map_of(painted(hidden)), chosen, logits)
        each = torch.stack([map_of(painted(in_channel(channel, hidden, inputs))) for channel in range(inputs.shape[1])], dim=2)
        return Maps(reduce_channels(each, "each"), chosen, logits, channel_maps(each, "each"))

    def sides(self, size: tuple[int, int]) -> tuple[int, int]:
        """Window and stride in pixels; raises UsageError if windows are too large or leave gaps."""
        window = max(1, min(size) // AUTO_WINDOW) if self.window == "auto" else self.window
        stride = max(1, window // 2) if self.stride == "auto" else self.stride
        if window > min(size):
            found = f"occlusion: a window of {count(window, 'pixel')} on an input of {size[0]} x {size[1]}"
            raise UsageError(found, expected=f"at most {min(size)}")
        if stride > window:
            found = f"occlusion: stride {stride} leaves gaps between windows of {count(window, 'pixel')}"
            raise UsageError(found, expected=f"at most {window}")
        return window, stride

    def falls(self, passes: Passes, inputs: Tensor, windows: int, chosen: Resolved) -> Tensor:
        """The fall of the scores (B, T, windows) when one window is hidden."""
        scores = torch.zeros(len(inputs), chosen.classes.shape[1], windows, device=inputs.device)

        def receive(row: int, start: int, logits: Tensor) -> None:
            scores[row, :, start : start + len(logits)] = scores_of(chosen[row : row + 1], logits, self.score).T

        clean = passes(receive)
        return scores_of(chosen, clean, self.score)[..., None] - scores


def in_channel(channel: int, hidden: Tensor, inputs: Tensor) -> Tensor:
    """The inputs (B, C, H, W) with one channel of `hidden`."""
    mixed = inputs.clone()
    mixed[:, channel] = hidden[:, channel]
    return mixed


def stretches(side: int, window: int, stride: int) -> list[tuple[int, int]]:
    """The range that each window hides along one axis (first pixel, and the one after the last), until the axis is covered."""
    starts = range(0, -(-(side - window) // stride) * stride + 1, stride)
    return [(start, min(side, start + window)) for start in starts]


def covered(side: int, hidden: list[tuple[int, int]]) -> Tensor:
    """Which pixels of one axis each window hides: (windows, side), 1 or 0."""
    place = torch.arange(side)
    return torch.stack([(place >= start) & (place < stop) for start, stop in hidden]).float()


def at_centres(over_rows: Tensor, over_columns: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which rows and columns of patches each window hides: those whose centres it covers."""
    sides = zip((over_rows, over_columns), grid, strict=True)
    rows, columns = (over[:, ((torch.arange(count) + 0.5) * over.shape[1] / count).long()] for over, count in sides)
    return rows, columns
