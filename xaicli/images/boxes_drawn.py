"""The box of a detector that is explained, drawn on pictures of its photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

from xaicli.images.geometry import Box, Geometry
from xaicli.images.marks import DARK, LIGHT, THICKNESS
from xaicli.images.text import font, line_height, shortened

SMALLEST_TEXT = 10
TEXT = 1 / 28
"""Of the label, as a share of the picture's shorter side."""


@dataclass(frozen=True)
class BoxMark:
    """A box, its corners in pixels of a photo of `size` (width, height), and its label."""

    corners: Box
    label: str
    size: tuple[int, int]

    def draw(self, picture: Image.Image, geometry: Geometry) -> None:
        """A light line with a dark one on both sides, so that it shows on any photo; the label in its upper corner."""
        across, down = picture.width / self.size[0], picture.height / self.size[1]
        x0, y0, x1, y1 = (round(at * scale) for at, scale in zip(self.corners, (across, down) * 2, strict=True))
        draw = ImageDraw.Draw(picture)
        thick = max(1, round(min(picture.size) * THICKNESS))
        for colour, inset, wide in ((DARK, -thick, 3 * thick), (LIGHT, 0, thick)):
            draw.rectangle((x0 + inset, y0 + inset, max(x0, x1 - 1) - inset, max(y0, y1 - 1) - inset), outline=colour, width=wide)
        size = max(SMALLEST_TEXT, round(min(picture.size) * TEXT))
        text = shortened(self.label, picture.width / 2, size)
        wide, tall = round(font(size).getlength(text)) + size // 2, line_height(size)
        # Above the box where there is room, else in it; never beyond the picture.
        left = max(0, min(x0 - thick, picture.width - wide))
        top = y0 - thick - tall if y0 - thick >= tall else max(0, y0)
        draw.rectangle((left, top, left + wide, top + tall), fill=DARK)
        draw.text((left + size // 4, top + (tall - size) // 2 - 1), text, fill=LIGHT, font=font(size))


def box_marks(box: Mapping[str, Any], size: tuple[int, int]) -> tuple[BoxMark, ...]:
    """The mark of a box as records hold it, on a photo of `size` (width, height); none where there is no box."""
    if not box:
        return ()
    left, top, right, bottom = (float(corner) for corner in box["corners"])
    return (BoxMark((left, top, right, bottom), f"{box['label']} {float(box['score']):.2f}", size),)
