"""The frames of an explained sequence: as a strip with the importance of each as a bar below, and as a moving picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xaicli.images.colour import Scale
from xaicli.images.contact_print import tiles
from xaicli.images.geometry import Geometry
from xaicli.images.overlay import HEAT, bar_table, in_time, overlay
from xaicli.images.sheet import BAR, GAP, MARGIN, PAPER, WIDTH, draw_bar, thumbnail
from xaicli.images.steps import moving
from xaicli.images.text import FAINT, INK, line_height, write
from xaicli.sign import Sign

MOST_ACROSS = 8
LARGEST_FRAME = 240
MILLISECONDS = 300
ABOVE = 200
"""The entry of the colour table for bars above 0; those below have the one that lies as far from the other end."""


@dataclass(frozen=True, eq=False)
class Film:
    """A sequence and its map. photo: its frames side by side; values: (t, h, w), or (h, w) for all frames; geometry: of the
    photo; numbers: of the frames in their sequence; look: how the map is drawn on them, as in `overlay`."""

    photo: Image.Image
    values: NDArray[np.float32]
    geometry: Geometry
    sign: Sign
    numbers: Sequence[int]
    look: Mapping[str, Any] = field(default_factory=dict)

    @property
    def maps(self) -> NDArray[np.float32]:
        """The map of each frame, (frames, h, w)."""
        return in_time(torch.from_numpy(np.ascontiguousarray(self.values, dtype=np.float32)), self.geometry.frames).numpy()

    def drawn_frames(self, side: int) -> Iterator[Image.Image]:
        """Each frame with its map, its longer side `side`."""
        maps = self.maps
        scale = Scale.of(list(maps), self.sign)
        for box, one in zip(tiles(self.photo.size, len(maps)), maps, strict=True):
            small = thumbnail(self.photo.crop(box), side)
            where = replace(self.geometry, source=small.size, frames=0)
            yield overlay(small, one, where, self.sign, scale=scale, in_place=True, **self.look)

    @property
    def bars(self) -> Bars:
        table = bar_table(self.sign, self.look.get("colormap"), self.look.get("look", HEAT))
        return Bars(importance_of(self.maps), table)

    def strip(self, width: int = WIDTH) -> Image.Image:
        """All frames in lines, each with its number above and the importance of the frame as a bar below."""
        across = min(MOST_ACROSS, len(self.numbers))
        side = min(LARGEST_FRAME, (width - 2 * MARGIN + GAP) // across - GAP)
        pictures, bars = list(self.drawn_frames(side)), self.bars
        size, tall = max(12, side // 15), max(36, side // 3)
        wide, high = pictures[0].width + GAP, pictures[0].height + tall + 2 * line_height(size) + 2 * GAP
        down = math.ceil(len(pictures) / across)
        foot = BAR + 2 + line_height(size)
        canvas = Image.new("RGB", (2 * MARGIN + across * wide - GAP, 2 * MARGIN + down * high + foot), PAPER)
        draw = ImageDraw.Draw(canvas)
        for at, (picture, number) in enumerate(zip(pictures, self.numbers, strict=True)):
            x, y = MARGIN + at % across * wide, MARGIN + at // across * high
            write(draw, (x, y), f"frame {number}", size, width=picture.width)
            canvas.paste(picture, (x, y + line_height(size)))
            below = y + line_height(size) + picture.height + 4
            bars.draw(draw, at, (x, below, picture.width, tall))
            write(draw, (x, below + tall), bars.text(at), size, width=picture.width, align="centre", colour=FAINT)
        field = (MARGIN, canvas.height - MARGIN - foot, min(canvas.width - 2 * MARGIN, 2 * LARGEST_FRAME), BAR)
        draw_bar(canvas, Scale.of(list(self.maps), self.sign), bars.table, field, size)
        return canvas

    def animation(self, kind: str, side: int = 480) -> bytes:
        """The frames one after the other, with the bars of all below and that of the frame that is shown marked."""
        bars, pictures = self.bars, []
        size, tall, count = max(12, side // 28), side // 6, len(self.numbers)
        for at, (picture, number) in enumerate(zip(self.drawn_frames(side), self.numbers, strict=True)):
            canvas = Image.new("RGB", (picture.width, picture.height + tall + 2 * line_height(size) + 3 * GAP), PAPER)
            draw = ImageDraw.Draw(canvas)
            write(draw, (4, 1), f"frame {number}: {bars.text(at)}", size, width=picture.width - 8)
            canvas.paste(picture, (0, line_height(size) + 4))
            top, each = picture.height + line_height(size) + 2 * GAP, picture.width / count
            for other in range(count):
                left, right = round(other * each), round((other + 1) * each)
                bars.draw(draw, other, (left + 1, top, max(1, right - left - 2), tall))
                if other == at:
                    draw.rectangle((left + 1, top + tall + 3, max(left + 1, right - 2), top + tall + 6), fill=INK)
            pictures.append(canvas)
        return moving(pictures, kind, [MILLISECONDS] * count)


def importance_of(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """The importance of each frame: the mean of its map (frames, h, w)."""
    return maps.mean(axis=(1, 2), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Bars:
    """The importance of frames as bars on one scale that holds 0; table: the colours of values."""

    values: NDArray[np.float64]
    table: NDArray[np.uint8]

    def text(self, at: int) -> str:
        return f"{self.values[at]:.3g}".replace("-", "−")

    def draw(self, draw: ImageDraw.ImageDraw, at: int, place: tuple[int, int, int, int]) -> None:
        """Draw one bar in `place` (x, y, width, height), up from a line at 0, or down where it is negative."""
        x, y, width, height = place
        low, high = min(0.0, float(self.values.min())), max(0.0, float(self.values.max()))
        span = (high - low) or 1.0
        zero, end = (round(y + height * (high - value) / span) for value in (0.0, float(self.values[at])))
        colour = tuple(self.table[ABOVE if self.values[at] >= 0 else len(self.table) - 1 - ABOVE].tolist())
        draw.rectangle((x + width // 4, min(zero, end), x + width - 1 - width // 4, max(zero, end)), fill=colour, outline=FAINT)
        draw.line((x, zero, x + width - 1, zero), fill=FAINT)
