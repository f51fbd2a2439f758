"""Class maps (B, C, H, W): mean logits and mean probabilities over a region, and overlaps with the clean prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import RunError
from xaicli.outputs import Outputs

SMALLEST_SIDE = 2
"""Minimum cells per side of a class map."""
SPACE = (-2, -1)


def is_class_map(tensor: Tensor | np.ndarray) -> bool:
    """Whether an output has the form of a class map."""
    return tensor.ndim == 4 and min(tensor.shape[2:]) >= SMALLEST_SIDE


def two_classes(logits: Tensor) -> Tensor:
    """A class map (B, C, H, W) of at least two classes: a single class with logits x becomes two, (-x / 2, x / 2), whose softmax
    is the sigmoid of x."""
    return logits if logits.shape[1] > 1 else torch.cat([-logits / 2, logits / 2], dim=1)


def predicted(class_map: Tensor, pixels: Outputs) -> Tensor:
    """Where each class is predicted: bool (B, C, H, W) of class maps (B, C, H, W). One class a cell, the lowest index of equal
    logits; of labels every one whose probability is above a half."""
    if pixels is Outputs.SIGMOID:
        return class_map > 0
    classes = torch.arange(class_map.shape[1], device=class_map.device).view(-1, 1, 1)
    return class_map.argmax(dim=1, keepdim=True) == classes


@dataclass(frozen=True, eq=False)
class FixedRegion:
    """A region of one photo's class map, fixed on the clean photo.

    cells: (H, W) bool, not empty; clean: (C, H, W) bool, where the clean photo's class map has each class, None where nobody asks
    for overlaps; within: (H, W) bool, where they are measured, None for the whole map; index: the class whose region it is.
    """

    cells: Tensor
    clean: Tensor | None = None
    within: Tensor | None = None
    index: int = 0

    def fixed_on(self, class_map: Tensor, pixels: Outputs) -> FixedRegion:
        """Itself, whatever the class map."""
        return self

    def read(self, class_map: Tensor, pixels: Outputs) -> Tensor:
        """Mean logits, mean probabilities and overlaps (B, 3C) of class maps (B, C, H, W) of copies of the photo.

        score_c = sum_ij R_ij Z_cij / sum_ij R_ij with the region's cells R, and the same of softmax(Z)_cij, or of sigmoid(Z)_cij
        where `pixels` says so (Nguyen et al., XEdgeAI, 2024: the sum there, the mean here, so that regions compare). The overlap
        of a class is the intersection over union of where it is predicted and where it was on the clean photo, 0 where it was
        nowhere; it has no gradient, and is left at 0 where class maps have a graph.
        """
        weights = self.cells.flatten().to(class_map.dtype) / self.cells.sum()
        means = [part.flatten(2) @ weights for part in (class_map, pixels.probabilities(class_map))]
        # With a graph outputs are for gradients, and overlaps have none: a look at every cell of every class is saved.
        overlaps = torch.zeros_like(means[0]) if class_map.requires_grad else self.overlaps(class_map, pixels)
        return torch.cat([*means, overlaps], dim=1)

    def overlaps(self, class_map: Tensor, pixels: Outputs) -> Tensor:
        """Intersection over union (B, C) with the clean photo's."""
        if self.clean is None:
            return class_map.new_zeros(class_map.shape[:2])
        now, clean = predicted(class_map, pixels), self.clean
        if self.within is not None:
            now, clean = now & self.within, clean & self.within
        return (now & clean).sum(dim=SPACE) / (now | clean).sum(dim=SPACE).clamp_min(1)


@dataclass(eq=False)
class OpenRegion:
    """A region that is fixed on the first class map that is read, which must be the clean photo's: the clean pass of a method
    then serves for the region too.

    fix: the region, from where each class is predicted, bool (C, H, W); fixed: the region, once it is.
    """

    fix: Callable[[Tensor], FixedRegion]
    fixed: FixedRegion | None = None

    @property
    def cells(self) -> Tensor:
        return self.settled.cells

    @property
    def settled(self) -> FixedRegion:
        """The region; raises RunError before the first pass."""
        if self.fixed is None:
            raise RunError("the region is not fixed yet: no class map was read")
        return self.fixed

    def fixed_on(self, class_map: Tensor, pixels: Outputs) -> FixedRegion:
        """The region; class_map (B, C, H, W): of the clean photo where it is the first that is read."""
        if self.fixed is None:
            self.fixed = self.fix(predicted(class_map.detach(), pixels)[0])
        return self.fixed
