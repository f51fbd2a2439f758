"""What a target is of, drawn on pictures of its photo: the outline of a region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xaicli.images.geometry import Geometry

REGION = "region"
"""What the array of a region is called beside a map."""
LIGHT, DARK = (255, 255, 255), (20, 20, 20)
THICKNESS = 1 / 250
"""Of a line, as a share of the picture's shorter side."""

Region = NDArray[np.bool_]
Segments = NDArray[np.float64]


class TargetMark(Protocol):
    """Something that a picture shows of the target."""

    def draw(self, picture: Image.Image, geometry: Geometry) -> None:
        """Draw on a picture of the photo, in place, as `geometry` lays the model's view on it."""


@dataclass(frozen=True, eq=False)
class RegionMark:
    """The outline of a region of the model's view: bool (h, w) at any resolution."""

    region: Region

    def draw(self, picture: Image.Image, geometry: Geometry) -> None:
        """A light line with a dark one on both sides, so that it shows on any photo and any map."""
        height, width = self.region.shape
        across, down = geometry.size[0] / width, geometry.size[1] / height
        corners = [
            (*geometry.to_source(x0 * across, y0 * down), *geometry.to_source(x1 * across, y1 * down))
            for x0, y0, x1, y1 in outline(self.region).tolist()
        ]
        draw = ImageDraw.Draw(picture)
        thick = max(1, round(min(picture.size) * THICKNESS))
        for colour, wide in ((DARK, 3 * thick), (LIGHT, thick)):
            before, after = wide // 2, (wide - 1) // 2
            for x0, y0, x1, y1 in corners:
                draw.rectangle((round(x0) - before, round(y0) - before, round(x1) + after, round(y1) + after), fill=colour)


def outline(region: Region) -> Segments:
    """The borders between what lies in a region (h, w) and what does not, as upright and level lines (n, 4): x0, y0, x1, y1 in
    cells, from 0 to w and 0 to h."""
    below, beside = np.pad(region, ((1, 1), (0, 0))), np.pad(region, ((0, 0), (1, 1)))
    rows, starts, stops = runs(below[1:] != below[:-1])
    columns, tops, bottoms = runs((beside[:, 1:] != beside[:, :-1]).T)
    level = np.stack([starts, rows, stops, rows], axis=1)
    upright = np.stack([columns, tops, columns, bottoms], axis=1)
    return np.concatenate([level, upright]).astype(np.float64)


def runs(edges: Region) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The stretches of True in each row: the row, the first place and the place after the last."""
    changes = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(changes > 0)
    return rows, starts, np.nonzero(changes < 0)[1]


def marks_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[TargetMark, ...]:
    """The marks that a map's further arrays tell of, by name; none where they tell of none."""
    return tuple(found(arrays))


def found(arrays: Mapping[str, NDArray[Any]]) -> Iterator[TargetMark]:
    region = arrays.get(REGION)
    if region is not None and region.ndim == 2 and region.size:
        yield RegionMark(region.astype(np.bool_))
