"""How well a detector's proposals reproduce boxes that were fixed on the clean photo (Petsiuk et al., D-RISE, 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.network.proposals import Proposals

TINY = 1e-12


@dataclass(frozen=True, eq=False)
class FixedBoxes:
    """The T boxes of one photo that are explained: what is looked for in its altered copies.

    boxes: (T, 4) in pixels of the input; labels: (T,) int64, the class of each; scores: (T, C) of each class on the clean photo.
    floor: proposals that are less certain do not count, where they have no objectness.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    floor: float

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, proposals: Proposals, chosen: Tensor, floor: float) -> FixedBoxes:
        """The proposals of those numbers of a single photo."""
        scores = proposals.scores[0, chosen].detach().clone()
        return cls(proposals.boxes[0, chosen].detach().clone(), scores.argmax(dim=1), scores, floor)

    def mask(self, number: int, size: tuple[int, int]) -> Tensor:
        """The pixels of an input of `size` (height, width) whose centres lie in a box, at least one: bool (height, width)."""
        left, top, right, bottom = self.boxes[number].tolist()
        rows, columns = (torch.arange(side) + 0.5 for side in size)
        middle = ((left + right) / 2, (top + bottom) / 2)
        inside = [
            (places >= min(low, centre - 0.5)) & (places < max(high, centre + 0.5))
            for places, low, high, centre in ((rows, top, bottom, middle[1]), (columns, left, right, middle[0]))
        ]
        return (inside[0][:, None] & inside[1]).to(self.boxes.device)

    def match(self, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """For each photo and box the proposal that is most similar, its number and its similarity, (B, T) each; no graph.

        similarity = IoU of the boxes * cosine of the class scores * objectness of the proposal, and the largest of these
        products counts. Without an objectness that factor is left out, and proposals below the floor have similarity 0: the
        cosine does not see how large scores are, so that thousands of faint boxes would hold it up.
        """
        with torch.no_grad():
            alike = iou(self.boxes, proposals.boxes) * cosine(self.scores, proposals.scores)
            if proposals.objectness is not None:
                counted = alike = alike * proposals.objectness[:, None]
            else:
                counted = alike * (proposals.confidence >= self.floor)[:, None]
            best = counted.amax(dim=2)
            # Where no proposal counts, the gradient is still that of the nearest.
            place = torch.where(best > 0, counted.argmax(dim=2), alike.argmax(dim=2))
        return place, best

    def confidence(self, proposals: Proposals, place: Tensor) -> Tensor:
        """The score of each box's own class at its proposal, times the objectness: (B, T), part of the graph."""
        rows = torch.arange(len(proposals), device=place.device)[:, None]
        scores = proposals.scores[rows, place, self.labels[None]]
        return scores if proposals.objectness is None else scores * proposals.objectness[rows, place]

    def read(self, proposals: Proposals) -> Tensor:
        """Outputs (B, 2T): the confidence of each box's proposal, then how similar that is to the box."""
        place, best = self.match(proposals)
        return torch.cat([self.confidence(proposals, place), best], dim=1)


def iou(wanted: Tensor, found: Tensor) -> Tensor:
    """Intersection over union of boxes (T, 4) and (B, N, 4): (B, T, N). Coordinates are continuous; a box of no size has 0."""
    low = torch.maximum(wanted[:, None, :2], found[:, None, :, :2])
    high = torch.minimum(wanted[:, None, 2:], found[:, None, :, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1) for boxes in (wanted, found)]
    both = areas[0][:, None] + areas[1][:, None] - shared
    # Not "above 0": what is no number stays none.
    return torch.where(both <= 0, 0.0, shared / both.clamp_min(TINY))


def cosine(wanted: Tensor, found: Tensor) -> Tensor:
    """Cosine of class scores (T, C) and (B, N, C): (B, T, N); 0 where all scores are 0."""
    product = torch.einsum("tc,bnc->btn", wanted, found)
    lengths = wanted.norm(dim=1)[:, None] * found.norm(dim=2)[:, None]
    return torch.where(lengths <= 0, 0.0, product / lengths.clamp_min(TINY))
