"""Pairs of segments as links over their photo, coloured by sign and as wide as they are strong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from xaicli.images.colour import Scale, coloured, palette
from xaicli.images.geometry import Geometry
from xaicli.images.sheet import BAR, GAP, MARGIN, PAPER, draw_bar, faded, thumbnail
from xaicli.images.text import INK, font, line_height, write
from xaicli.segment_pairs import Place, SegmentPair
from xaicli.sign import Sign

SIDE = 720
WIDEST = 1 / 70
"""Width of the strongest link, in shares of the picture's longer side."""
FAINTEST = 0.05
"""Links of a smaller share of the strongest are left out."""
RADIUS = 1 / 60


def links_picture(
    photo: Image.Image,
    pairs: Sequence[SegmentPair],
    geometry: Geometry,
    lines: Sequence[str] = (),
    *,
    colormap: str | None = None,
    side: int = SIDE,
) -> Image.Image:
    """The photo, grey and pale, with a link for each pair between its segments' places; both are numbered as in the record.

    lines: of text on top; under the picture is a colour bar of the weights.
    """
    small = thumbnail(photo, side)
    largest = max((abs(pair.weight) for pair in pairs), default=0.0)
    scale = Scale(-largest, largest)
    drawn = faded(small)
    draw_links(drawn, pairs, replace(geometry, source=small.size), scale, colormap)
    size = max(12, side // 45)
    top = MARGIN + len(lines) * line_height(size) + GAP * bool(lines)
    canvas = Image.new("RGB", (drawn.width + 2 * MARGIN, top + drawn.height + GAP + BAR + line_height(size) + MARGIN), PAPER)
    canvas.paste(drawn, (MARGIN, top))
    for at, line in enumerate(lines):
        write(ImageDraw.Draw(canvas), (MARGIN, MARGIN + at * line_height(size)), line, size, width=drawn.width)
    draw_bar(canvas, scale, palette(Sign.SIGNED, colormap), (MARGIN, top + drawn.height + GAP, drawn.width, BAR), size)
    return canvas


def draw_links(
    picture: Image.Image, pairs: Sequence[SegmentPair], geometry: Geometry, scale: Scale, colormap: str | None
) -> None:
    """Draw on the picture in place, the strongest link last."""
    draw, table = ImageDraw.Draw(picture), palette(Sign.SIGNED, colormap)
    longer = max(picture.size)
    shown = [pair for pair in pairs if abs(pair.weight) > FAINTEST * scale.high]
    for pair in sorted(shown, key=lambda pair: abs(pair.weight)):
        share = abs(pair.weight) / scale.high
        wide = max(1, round(share * longer * WIDEST))
        ends = [on_photo(place, geometry) for place in pair.places]
        colour = tuple(coloured(np.array([pair.weight]), scale, table)[0].tolist())
        # A dark line below, since the middle of the colour map is pale.
        draw.line(ends, fill=INK, width=wide + 2)
        draw.line(ends, fill=colour, width=wide)
    for number, place in sorted({node for pair in shown for node in zip(pair.segments, pair.places, strict=True)}):
        x, y = on_photo(place, geometry)
        radius = max(7, round(longer * RADIUS))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PAPER, outline=INK)
        draw.text((x, y), str(number), fill=INK, anchor="mm", font=font(max(8, round(1.1 * radius))))


def on_photo(place: Place, geometry: Geometry) -> tuple[float, float]:
    width, height = geometry.size
    return geometry.to_source(place[1] * width, place[0] * height)
