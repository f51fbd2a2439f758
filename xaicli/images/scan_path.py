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
    for (x, y), numbers in together(points, 1.5 * radius):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PAPER, outline=PEN, width=max(1, radius // 6))
        text = ",".join(map(str, numbers))
        size = max(6, min(round(1.2 * radius), round(3.2 * radius / len(text))))
        draw.text((x, y), text, fill=PEN, anchor="mm", font=font(size))
    return drawn


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
