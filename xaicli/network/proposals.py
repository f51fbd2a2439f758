"""What a detector finds: boxes with class scores, as its decode function reads them from what the network returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xaicli.errors import RunError
from xaicli.packages import import_torchvision
from xaicli.words import count, type_of

FORM = "boxes (photos, N, 4) and scores (photos, N, C), of one photo also (N, 4) and (N, C), and no more than an objectness"
FLOOR = 0.05
"""The confidence below which a proposal does not count: torchvision's own threshold for Faster R-CNN and RetinaNet."""
OVERLAP = 0.5
"""Of two boxes of one class that overlap by more, in intersection over union, the less certain one is dropped."""
MOST_BOXES = 100


@dataclass(frozen=True, eq=False)
class Proposals:
    """All that a detector proposes for B photos, before any is dropped, part of the graph.

    boxes: (B, N, 4), left, top, right and bottom in pixels of the input; scores: (B, N, C), of each class, 0..1; objectness:
    (B, N), 0..1, that there is any object, None where the network has no such number.
    """

    boxes: Tensor
    scores: Tensor
    objectness: Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def confidence(self) -> Tensor:
        """The score of each proposal's best class, times its objectness where it has one: (B, N)."""
        best = self.scores.amax(dim=2)
        return best if self.objectness is None else best * self.objectness

    def summary(self) -> Tensor:
        """A few numbers a photo that tell networks apart: the best score of each class, and the mean box (B, C + 4)."""
        return torch.cat([self.scores.amax(dim=1), self.boxes.mean(dim=1)], dim=1)


@dataclass(frozen=True)
class Decoding:
    """How the network's output becomes boxes.

    decode: of the output for a batch; floor: proposals that are less certain do not count; overlap: of two boxes of one class
    that overlap by more the better one is kept, None where the network proposes each object once; one_by_one: the decode function
    takes one photo at a time.
    """

    decode: Callable[[Any], Any]
    floor: float = FLOOR
    overlap: float | None = OVERLAP
    one_by_one: bool = False

    def read(self, output: object, photos: int, model: str) -> Proposals:
        """The proposals of B photos; raises RunError where `decode` returns something else.

        output: what the network returned; a list of that, one a photo, where photos are decoded one by one.
        """
        what = f"the decode function of {model}"
        if not self.one_by_one:
            return as_proposals(self.decode(output), photos, what)
        assert isinstance(output, Sequence)
        return padded([as_proposals(self.decode(one), 1, what) for one in output])

    def found(self, proposals: Proposals) -> Tensor:
        """Which proposals of the one photo count as its boxes: their numbers, the most certain first, at most a hundred."""
        confidence, labels = proposals.confidence[0], proposals.scores[0].argmax(dim=1)
        certain = (confidence > self.floor).nonzero()[:, 0]
        order = certain[confidence[certain].argsort(descending=True, stable=True)]
        if self.overlap is not None:
            boxes = proposals.boxes[0, order].float()
            kept = import_torchvision().ops.batched_nms(boxes, confidence[order], labels[order], self.overlap)
            order = order[kept.sort().values]
        return order[:MOST_BOXES]


def as_proposals(decoded: object, photos: int, what: str) -> Proposals:
    """Proposals from what a decode function returned: (boxes, scores), (boxes, scores, objectness), a dict of these names, or a
    list of such, one a photo."""
    parts = tensors_of(decoded)
    if parts is None:
        each = [tensors_of(one) for one in decoded] if isinstance(decoded, Sequence) and len(decoded) == photos else []
        whole = [as_proposals(part, 1, what) for part in each if part is not None]
        if not whole or len(whole) != photos:
            raise RunError(f"{what} returned {type_of(decoded)}", expected=FORM)
        return padded(whole)
    if photos == 1 and parts[0].ndim == 2:
        parts = [part[None] for part in parts]
    boxes, scores, *rest = parts
    shapes = " and ".join(str(tuple(part.shape)) for part in parts)
    fits = boxes.ndim == scores.ndim == 3 and boxes.shape[2] == 4 and boxes.shape[:2] == scores.shape[:2]
    if not fits or len(boxes) != photos or any(part.shape != boxes.shape[:2] for part in rest):
        raise RunError(f"{what} returned shapes {shapes} for {count(photos, 'photo')}", expected=FORM)
    if not boxes.shape[1] or not scores.shape[2]:
        # A photo without any proposal has one of no size and no score.
        boxes = boxes.new_zeros((photos, 1, 4))
        scores, rest = scores.new_zeros((photos, 1, max(1, scores.shape[2]))), [boxes.new_zeros((photos, 1)) for _ in rest]
    return Proposals(boxes.float(), scores.float(), rest[0].float() if rest else None)


def tensors_of(decoded: object) -> list[Tensor] | None:
    """The two or three tensors of a decode function's result; None where it is something else."""
    if isinstance(decoded, Mapping):
        decoded = [decoded[name] for name in ("boxes", "scores", "objectness") if decoded.get(name) is not None]
    if not isinstance(decoded, tuple | list) or not 2 <= len(decoded) <= 3:
        return None
    return list(decoded) if all(isinstance(part, Tensor) for part in decoded) else None


def padded(each: Sequence[Proposals]) -> Proposals:
    """Photos with different numbers of proposals in one batch: what is lacking is of no size and no score."""
    most = max(one.boxes.shape[1] for one in each)

    def joined(parts: Sequence[Tensor]) -> Tensor:
        fill = [part.new_zeros((1, most - part.shape[1], *part.shape[2:])) for part in parts]
        return torch.cat([torch.cat([part, empty], dim=1) for part, empty in zip(parts, fill, strict=True)])

    objectness = [one.objectness for one in each if one.objectness is not None]
    return Proposals(
        joined([one.boxes for one in each]),
        joined([one.scores for one in each]),
        joined(objectness) if len(objectness) == len(each) else None,
    )
