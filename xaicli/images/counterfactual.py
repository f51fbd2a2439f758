"""A photo beside the one that it would have to be, and what differs, enlarged until it can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xaicli.images.sheet import GAP, MARGIN, PAPER, thumbnail
from xaicli.images.text import line_height, write

SIDE = 360
NOTICEABLE = 0.3
"""The largest difference is drawn as at least this share of the range of colours."""

Colours = NDArray[np.floating]


def counterfactual_picture(before: Colours, after: Colours, lines: Sequence[str] = (), *, side: int = SIDE) -> Image.Image:
    """Photos (3, H, W) in 0..1 side by side, and their difference around grey; lines: of text on top."""
    difference = after - before
    largest = float(np.abs(difference).max())
    times = max(1, int(np.ceil(NOTICEABLE / largest))) if largest > 0 else 1
    panels = {"the photo": before, "on the boundary": after, f"difference x {times}": 0.5 + times * difference}
    size = max(12, side // 24)
    pictures = [thumbnail(in_pixels(colours), side) for colours in panels.values()]
    wide, high = pictures[0].size
    top = MARGIN + len(lines) * line_height(size)
    whole = 2 * MARGIN + len(panels) * wide + (len(panels) - 1) * GAP
    canvas = Image.new("RGB", (whole, top + line_height(size) + GAP + high + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    for at, line in enumerate(lines):
        write(draw, (MARGIN, MARGIN + at * line_height(size)), line, size, width=whole - 2 * MARGIN)
    for at, (name, picture) in enumerate(zip(panels, pictures, strict=True)):
        x = MARGIN + at * (wide + GAP)
        write(draw, (x, top), name, size, width=wide)
        canvas.paste(picture, (x, top + line_height(size) + GAP))
    return canvas


def in_pixels(colours: Colours) -> Image.Image:
    return Image.fromarray(np.rint(255 * colours.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0))
