"""A scan path: the places of a photo that were looked at, one after the other, joined by a line and numbered."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xaicli.images.geometry import Geometry
from xaicli.images.text import font

Point = tuple[float, float]

PAPER, PEN = (255, 255, 255), (0, 0, 0)
PARTS_A_LINE = 3
"""Numbers, or runs of them, that stand side by side on one label."""
RADIUS = 1 / 28
"""Radius of a place, in shares of the picture's longer side."""


def draw_path(picture: Image.Image, places: NDArray[np.floating], geometry: Geometry) -> Image.Image:
    """A copy of the picture with places (N, 2), row and column in shares of the network's input, in their order."""
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    width, height = geometry.size
    points = [geometry.to_source(float(column) * width, float(row) * height) for row, column in places]
    radius = max(5, round(max(picture.size) * RADIUS))
    for one, other in pairwise(points):
        draw.line([one, other], fill=PEN, width=max(3, radius // 3))
        draw.line([one, other], fill=PAPER, width=max(1, radius // 6))
    for place, numbers in together(points, 1.5 * radius):
        draw_label(draw, place, spelled(numbers), radius)
    return drawn


def draw_label(draw: ImageDraw.ImageDraw, place: Point, parts: list[str], radius: int) -> None:
    """Write the numbers of a place on a disc, or on a plate of several lines that is as large as they need."""
    lines = [",".join(parts[at : at + PARTS_A_LINE]) for at in range(0, len(parts), PARTS_A_LINE)]
    letters = font(max(8, round(1.2 * radius)))
    left, top, right, bottom = draw.multiline_textbbox(place, "\n".join(lines), anchor="mm", font=letters, spacing=2)
    half = max(radius, math.ceil((right - left) / 2 + radius / 3)), max(radius, math.ceil((bottom - top) / 2 + radius / 3))
    edges = (place[0] - half[0], place[1] - half[1], place[0] + half[0], place[1] + half[1])
    draw.rounded_rectangle(edges, min(half), fill=PAPER, outline=PEN, width=max(1, radius // 6))
    draw.multiline_text(place, "\n".join(lines), fill=PEN, anchor="mm", font=letters, spacing=2, align="center")


def spelled(numbers: list[int]) -> list[str]:
    """Rising numbers in parts, three and more in a row as one: "1", "3-6"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [part for run in runs for part in ([f"{run[0]}\u2013{run[-1]}"] if len(run) > 2 else map(str, run))]


def together(points: list[Point], reach: float) -> list[tuple[Point, list[int]]]:
    """Places nearer than `reach` to an earlier one, which would cover it, as one: the first of them, and all numbers, from 1."""
    found: list[tuple[Point, list[int]]] = []
    for number, point in enumerate(points, start=1):
        near = next((numbers for other, numbers in found if math.dist(point, other) < reach), None)
        if near is None:
            found.append((point, [number]))
        else:
            near.append(number)
    return found
