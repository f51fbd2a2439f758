"""Text in pictures, drawn in the font that matplotlib ships, so that it looks the same on every machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageDraw, ImageFont

from xaicli.writable_text import writable

INK = (30, 30, 30)
FAINT = (110, 110, 110)
ELLIPSIS = "…"


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of a size in pixels, with the basic layout engine, since the other is not available on every machine."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def line_height(size: int) -> int:
    """The distance between two lines of text, in pixels."""
    return round(size * 1.3)


def shortened(text: str, width: float, size: int, bold: bool = False) -> str:
    """Text that fits `width` pixels: if it is too long, its middle is left out, since names often differ at their ends."""
    plain = "".join(char if char.isprintable() else " " for char in writable(text[:1000])).strip()
    face = font(size, bold)
    if face.getlength(plain) <= width:
        return plain
    fits, too_many = 0, len(plain)
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        if face.getlength(without_middle(plain, kept)) <= width:
            fits = kept
        else:
            too_many = kept
    return without_middle(plain, fits)


def without_middle(text: str, kept: int) -> str:
    """`kept` characters of a text: half of them from its start, half from its end."""
    tail = kept // 2
    return text[: kept - tail] + ELLIPSIS + (text[-tail:] if tail else "")


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    *,
    width: float,
    align: str = "left",
    bold: bool = False,
    colour: tuple[int, int, int] = INK,
) -> None:
    """One line of text in a field that begins at `place` (x, y of its upper left corner) and is `width` wide."""
    shown = shortened(text, width, size, bold)
    length = font(size, bold).getlength(shown)
    room = max(0.0, width - length)
    x = place[0] + {"left": 0.0, "centre": room / 2, "right": room}[align]
    draw.text((round(x), round(place[1])), shown, fill=colour, font=font(size, bold))
