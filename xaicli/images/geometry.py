"""The mapping between a photo and the model's view of it, in both directions: one scale and one offset per axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xaicli.errors import InputError

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in continuous pixel coordinates."""


def offset(length: int, crop: int) -> int:
    """Where a centre crop begins, rounded as torchvision rounds; negative if it pads."""
    return -((crop - length) // 2) if crop > length else round((length - crop) / 2)


@dataclass(frozen=True)
class Geometry:
    """The mapping from a photo to the model's view of it. All pairs are (x, y) or (width, height), in pixels.

    source: the photo; resized: the photo after the resize; offset: where the crop begins in the resized photo, negative if it
    pads; size: of the view; frames: of a sequence, how many of them the source shows side by side, 0 if it is a photo.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]
    frames: int = 0

    @property
    def scale(self) -> tuple[float, float]:
        """View pixels per photo pixel, along x and y."""
        return self.resized[0] / self.source[0], self.resized[1] / self.source[1]

    def to_view(self, x: float, y: float) -> tuple[float, float]:
        """The point in the view for a point in the photo; outside 0..size if the model does not see it."""
        return x * self.resized[0] / self.source[0] - self.offset[0], y * self.resized[1] / self.source[1] - self.offset[1]

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """The point in the photo for a point in the view; outside the photo in the view's padding."""
        return (x + self.offset[0]) * self.source[0] / self.resized[0], (y + self.offset[1]) * self.source[1] / self.resized[1]

    @property
    def extent(self) -> Box:
        """The view's borders in the photo's coordinates; outside the photo if the view is padded."""
        return (*self.to_source(0, 0), *self.to_source(*self.size))

    @property
    def box(self) -> Box:
        """The part of the photo that the model saw."""
        return clip(self.extent, self.source)

    @property
    def content(self) -> Box:
        """The part of the view that shows the photo; the rest is padding."""
        return self.box_to_view((0.0, 0.0, float(self.source[0]), float(self.source[1])))

    @property
    def sees_all(self) -> bool:
        """Whether no part of the photo is cropped away."""
        return self.box == (0.0, 0.0, float(self.source[0]), float(self.source[1]))

    def box_to_view(self, box: Box, *, clipped: bool = True) -> Box:
        """A box on the photo in view coordinates; if clipped to the view, a box that the model does not see has no area."""
        x0, y0, x1, y1 = box
        moved = (*self.to_view(x0, y0), *self.to_view(x1, y1))
        return clip(moved, self.size) if clipped else moved

    def as_dict(self) -> dict[str, list[int] | list[float]]:
        """Plain types for the record: sizes as [width, height], the box that the model saw as [x0, y0, x1, y1] in photo
        pixels."""
        return {
            "source": list(self.source),
            "resized": list(self.resized),
            "offset": list(self.offset),
            "size": list(self.size),
            "box": list(self.box),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Geometry:
        """The inverse of `as_dict`; raises InputError if `content` is not a geometry."""
        try:
            pairs = [tuple(int(part) for part in content[name]) for name in ("source", "resized", "offset", "size")]
        except (TypeError, KeyError, ValueError) as error:
            raise InputError("the record of a view's geometry is incomplete", expected="source, resized, offset, size") from error
        if any(len(pair) != 2 for pair in pairs) or min(*pairs[0], *pairs[1], *pairs[3]) < 1:
            raise InputError("the record of a view's geometry has an impossible size", expected="[width, height] above 0")
        return cls(*pairs)  # type: ignore[arg-type]  # lengths were checked


def clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in (0, 0, *size)."""
    width, height = size
    x0, x1 = (min(max(x, 0.0), float(width)) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in (box[1], box[3]))
    return x0, y0, x1, y1
