"""A box that a detector found in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FoundBox:
    """Corners in pixels of the photo (left, top, right, bottom, continuous), the name of its class, and its confidence, 0..1."""

    corners: tuple[float, float, float, float]
    label: str
    score: float

    def __str__(self) -> str:
        return f"{self.label} {self.score:.2f}"


def shown_box(number: int, boxes: Sequence[FoundBox]) -> str:
    """A box in words, with its target name: "dog (box:0)"."""
    return f"{boxes[number].label} (box:{number})"
