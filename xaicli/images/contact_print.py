"""The frames of a sequence in one picture, side by side and line by line, as they are drawn on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

PRINTED = 1 << 22
"""Pixels of a print at most, 2048 x 2048; the frames of a larger one are made smaller."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


def columns_of(count: int) -> int:
    """How many of `count` frames stand side by side: about as many as there are lines."""
    return max(1, math.ceil(math.sqrt(count)))


def tiles(size: tuple[int, int], count: int) -> list[Box]:
    """Where each frame lies on a print of that width and height."""
    across = columns_of(count)
    down = math.ceil(count / across)
    xs = [round(size[0] * at / across) for at in range(across + 1)]
    ys = [round(size[1] * at / down) for at in range(down + 1)]
    places = (divmod(number, across) for number in range(count))
    return [(xs[x], ys[y], xs[x + 1], ys[y + 1]) for y, x in places]


@dataclass(eq=False)
class ContactPrint:
    """A print while it is made. frame_size: width and height of the frames themselves; count: how many there will be."""

    frame_size: tuple[int, int]
    count: int
    picture: Image.Image
    added: int = 0

    @classmethod
    def of(cls, frame_size: tuple[int, int], count: int) -> ContactPrint:
        width, height = frame_size
        across = columns_of(count)
        down = math.ceil(count / across)
        scale = min(1.0, math.sqrt(PRINTED / (across * down * width * height)))
        tile = max(1, round(width * scale)), max(1, round(height * scale))
        return cls(frame_size, count, Image.new("RGB", (across * tile[0], down * tile[1]), (255, 255, 255)))

    def add(self, frame: Image.Image) -> None:
        """Put the next frame on the print."""
        left, top, right, bottom = tiles(self.picture.size, self.count)[self.added]
        fitted = frame if frame.size == (right - left, bottom - top) else frame.resize((right - left, bottom - top))
        self.picture.paste(fitted, (left, top))
        self.added += 1
