"""A photo of so many pixels that it is never held as RGB: what a view asks of a picture, made of its parts one after the other.

Every result is what Pillow gives for the whole photo, bit for bit: it too converts pixel by pixel, and resizes rows before
columns.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from xaicli.images.pixels import FROM_BELOW, FROM_THE_RIGHT, SIDEWAYS, TURNS, Colour, to_rgb

LARGE = 1 << 26
"""Pixels, 8192 x 8192: above, a photo is taken part by part, and its overlay is smaller than itself."""
LARGEST_DRAWN = 24 << 20
"""Pixels of that overlay at most."""
AT_A_TIME = 1 << 22

BY_PIXEL = frozenset({"1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"})
"""Modes whose pixels become RGB each by itself."""

Box = tuple[int, int, int, int]


def is_large(image: Image.Image) -> bool:
    """Whether a photo, read as far as its header, is taken part by part."""
    return image.width * image.height > LARGE and image.mode in BY_PIXEL


@dataclass(frozen=True, eq=False)
class LargePhoto:
    """A decoded photo as its file holds it, upright and RGB wherever it is looked at.

    orientation: as its EXIF block has it; background: what transparency is laid on; mode: RGB, or L for its grey; notes: what is
    to be told of the parts that were looked at.
    """

    image: Image.Image
    orientation: int
    background: Colour
    mode: str = "RGB"
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def is_turned(self) -> bool:
        """Whether its rows are the columns of the picture that was decoded."""
        return self.orientation in SIDEWAYS

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.image.size
        return (height, width) if self.is_turned else (width, height)

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    def convert(self, mode: str) -> LargePhoto:
        return dataclasses.replace(self, mode=mode)

    def part(self, box: Box) -> Image.Image:
        """The pixels of a box (left, top, right, bottom) inside the photo."""
        cut = self.image.crop(decoded_box(box, self.size, self.orientation))
        rgb, said = to_rgb(cut, self.background)
        self.notes.update(dict.fromkeys(said))
        turn = TURNS.get(self.orientation)
        upright = rgb if turn is None else rgb.transpose(turn)
        return upright if self.mode == "RGB" else upright.convert(self.mode)

    def bands(self, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
        """The photo some rows at a time, each time a multiple of so many: the first row, and the pixels."""
        rows = max(1, AT_A_TIME // (self.width * multiple)) * multiple
        for top in range(0, self.height, rows):
            yield top, self.part((0, top, self.width, min(top + rows, self.height)))

    def crop(self, box: Box) -> Image.Image:
        """A part that may reach past the borders, where it is black."""
        left, top, right, bottom = box
        inside = (max(left, 0), max(top, 0), min(right, self.width), min(bottom, self.height))
        canvas = Image.new(self.mode, (right - left, bottom - top))
        if inside[0] < inside[2] and inside[1] < inside[3]:
            canvas.paste(self.part(inside), (inside[0] - left, inside[1] - top))
        return canvas

    def resize(self, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        """As Pillow resizes the whole photo: first the rows, some at a time, then the columns of what they gave."""
        if self.image.mode == self.mode == "RGB" and self.orientation not in TURNS:
            return self.image.resize(size, resample)
        narrow = Image.new(self.mode, (size[0], self.height))
        for top, band in self.bands():
            narrow.paste(band.resize((size[0], band.height), resample), (0, top))
        return narrow.resize(size, resample)

    def reduced(self) -> Image.Image:
        """The whole photo on at most `LARGEST_DRAWN` pixels: the mean of each square of a few pixels."""
        factor = self.factor
        size = math.ceil(self.width / factor), math.ceil(self.height / factor)
        canvas = Image.new(self.mode, size)
        for top, band in self.bands(factor):
            canvas.paste(band.reduce(factor), (0, top // factor))
        return canvas

    @property
    def factor(self) -> int:
        """How many times larger than its overlay the photo is."""
        return max(1, math.ceil(math.sqrt(self.width * self.height / LARGEST_DRAWN)))


def decoded_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Where a box of an upright photo of that size lies in the picture that was decoded."""
    (left, top, right, bottom), (width, height) = box, size
    if orientation in FROM_THE_RIGHT:
        left, right = width - right, width - left
    if orientation in FROM_BELOW:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in SIDEWAYS else (left, top, right, bottom)
