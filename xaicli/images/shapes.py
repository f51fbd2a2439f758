"""Marked regions of a photo: boxes, polygons, run lengths and mask files, drawn as the model sees them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from xaicli.errors import InputError
from xaicli.images.geometry import Box
from xaicli.images.view import View
from xaicli.untrusted import LARGEST_TEXT, read
from xaicli.words import count

Mask = NDArray[np.bool_]
Size = tuple[int, int]
"""Width and height of a photo."""

VOID = 255
"""The border between objects in a mask with a palette; it belongs to no object (Pascal VOC)."""


class Shape(Protocol):
    """A region of a photo."""

    def draw(self, view: View, size: Size) -> Mask:
        """The region as the model sees it, bool (H, W), on a photo of that size."""


@dataclass(frozen=True)
class Rectangle:
    """A box in the photo's pixels, continuous: x0, y0, x1, y1."""

    box: Box

    def draw(self, view: View, size: Size) -> Mask:
        """Pixels of the view whose centres lie in the box."""
        x0, y0, x1, y1 = view.geometry(*size).box_to_view(self.box)
        height, width = view.size
        across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
        return ((down >= y0) & (down < y1))[:, None] & ((across >= x0) & (across < x1))[None, :]


@dataclass(frozen=True)
class RelativeRectangle:
    """A box in fractions of the photo's width and height."""

    box: Box

    def draw(self, view: View, size: Size) -> Mask:
        width, height = size
        x0, y0, x1, y1 = self.box
        return Rectangle((x0 * width, y0 * height, x1 * width, y1 * height)).draw(view, size)


@dataclass(frozen=True)
class Polygons:
    """Outlines x0, y0, x1, y1, ... of one object's parts, in the photo's pixels or in fractions of its width and height."""

    outlines: tuple[tuple[float, ...], ...]
    relative: bool = False

    def draw(self, view: View, size: Size) -> Mask:
        """Pixels of the view whose centres lie in an outline."""
        geometry = view.geometry(*size)
        across, down = size if self.relative else (1, 1)
        mask = np.zeros(view.size, dtype=np.bool_)
        for outline in self.outlines:
            pairs = zip(outline[::2], outline[1::2], strict=True)
            mask |= inside(np.array([geometry.to_view(x * across, y * down) for x, y in pairs]), view.size)
        return mask


def inside(corners: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Which pixel centres of (H, W) lie in a polygon with corners (K, 2): a ray from such a centre crosses the outline an odd
    number of times."""
    mask = np.zeros(shape, dtype=np.bool_)
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (rows > y0) != (rows > y1)
        if crossed.any():
            meets = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            mask[crossed] ^= columns > meets[:, None]
    return mask


@dataclass(frozen=True)
class RunLengths:
    """COCO's run lengths, alternately outside and inside the object, down the columns; with height and width."""

    counts: tuple[int, ...]
    shape: tuple[int, int]

    def draw(self, view: View, size: Size) -> Mask:
        if self.shape != (size[1], size[0]):
            raise wrong_size("a mask by run lengths", (self.shape[1], self.shape[0]), size)
        pixels = self.shape[0] * self.shape[1]
        # Checked before any allocation: a few digits can ask for all memory.
        if min(self.counts, default=0) < 0 or sum(self.counts) != pixels:
            raise InputError(f"run lengths of {count(sum(self.counts), 'pixel')}", expected=f"{pixels}, none of them negative")
        inside = np.arange(len(self.counts)) % 2 == 1
        flat = np.repeat(inside, self.counts)
        return view.prepare_mask(np.ascontiguousarray(flat.reshape(self.shape, order="F")))


@dataclass(frozen=True)
class MaskFile:
    """A PNG of the photo's size. Non-zero pixels belong to the object, except 255 in a palette, which is the border."""

    path: Path

    def draw(self, view: View, size: Size) -> Mask:
        try:
            content = read(self.path, "a mask, a PNG of the photo's size", LARGEST_TEXT)
            with Image.open(io.BytesIO(content), formats=[str(PngImagePlugin.PngImageFile.format)]) as picture:
                if picture.size != size:
                    raise wrong_size(self.path.name, picture.size, size)
                palette = picture.mode == "P"
                values = np.asarray(picture)
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{self.path} is not a readable mask", expected="a PNG of the photo's size, 0 outside the object"
            ) from error
        if values.ndim == 3:
            # An opaque alpha channel says nothing about the object.
            values = values[..., :3].max(axis=2) if values.shape[2] >= 3 else values[..., 0]
        return view.prepare_mask((values != 0) & (values != VOID) if palette else values != 0)


def wrong_size(what: str, found: Sequence[int], size: Size) -> InputError:
    return InputError(
        f"{what} is {found[0]} x {found[1]} pixels, its photo {size[0]} x {size[1]}",
        hint="Annotate the photo at the size at which it is given.",
    )
