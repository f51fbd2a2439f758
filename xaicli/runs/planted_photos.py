"""Photos with a known truth: a patch pasted on them, or four of them in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.images.annotations import Mark, Name
from xaicli.images.shapes import Rectangle
from xaicli.images.source import Source
from xaicli.images.truth import Classes, Truth
from xaicli.images.view import View
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import stream
from xaicli.words import count

Pixels = NDArray[np.uint8]
LOOKS = ("checker", "stripes", "noise", "rings")
SIDES = (0.16, 0.22, 0.28)
"""Sides of patches, as shares of the input's shorter side."""


@dataclass(frozen=True)
class Look:
    """A patch: its side in pixels, and its pixels (side, side, 3)."""

    name: str
    side: int
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class MarkedPhoto:
    """A photo at the network's own size, and the box (x0, y0, x1, y1) that is known to matter; None without any."""

    source: Source
    pixels: Pixels
    box: tuple[int, int, int, int] | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        mask = np.zeros(self.pixels.shape[:2], dtype=np.bool_)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            mask[y0:y1, x0:x1] = True
        return mask


def exact_view(view: View) -> View:
    """The view of photos that already have the input's size."""
    return replace(view, resize=view.size, crop=None, letterbox=None)


def on_exact(classifier: Classifier) -> Classifier:
    """The classifier of photos that already have the input's size; raises UsageError unless it takes colours of 8 bits."""
    if classifier.view.channels != 3:
        raise UsageError(
            f"{classifier.name} takes {count(classifier.view.channels, 'channel')}", expected="a network of colour photos"
        )
    return replace(classifier, view=exact_view(classifier.view))


def pixels_of(inputs: Tensor, view: View) -> Pixels:
    """Bytes (H, W, 3), red first, of a preprocessed photo (3, H, W)."""
    std, mean = (torch.tensor(part)[:, None, None] for part in (view.std, view.mean))
    seen = (inputs.cpu() * std + mean) / view.scale
    seen = seen if view.order == "rgb" else seen.flip(0)
    return (seen.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def inputs_of(photos: Sequence[MarkedPhoto], view: View) -> Tensor:
    """Preprocessed inputs (N, 3, H, W) of photos of the input's size."""
    return torch.stack([exact_view(view).prepare(Image.fromarray(photo.pixels)) for photo in photos])


def a_look(view: View, seed: int, number: int) -> Look:
    """The look of planting `number`: pattern, two colours and side are drawn."""
    draw = stream(seed, "look", number)
    name = LOOKS[number % len(LOOKS)]
    side = max(2, round(min(view.size) * SIDES[number % len(SIDES)]))
    dark, bright = draw.integers(0, 90, 3), draw.integers(150, 256, 3)
    rows, columns = np.mgrid[:side, :side]
    cell = max(1, side // 6)
    which = {
        "checker": (rows // cell + columns // cell) % 2,
        "stripes": (rows + columns) // cell % 2,
        "noise": draw.integers(0, 2, (-(-side // cell), -(-side // cell))).repeat(cell, 0).repeat(cell, 1)[:side, :side],
        "rings": np.hypot(rows - side / 2, columns - side / 2).astype(int) // cell % 2,
    }[name]
    return Look(name, side, np.where(which[..., None] == 1, bright, dark).astype(np.uint8))


def pasted(name: str, pixels: Pixels, look: Look, seed: int, number: int) -> MarkedPhoto:
    """The photo with the patch at a place of its own, wholly inside."""
    draw = stream(seed, f"place/{name}", number)
    height, width = pixels.shape[:2]
    top, left = (int(draw.integers(0, length - look.side + 1)) for length in (height, width))
    drawn = pixels.copy()
    drawn[top : top + look.side, left : left + look.side] = look.pixels
    return marked(name, drawn, (left, top, left + look.side, top + look.side))


def marked(name: str, pixels: Pixels, box: tuple[int, int, int, int] | None = None) -> MarkedPhoto:
    return MarkedPhoto(Source.of(Image.fromarray(pixels), name=name), pixels, box)


QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def mosaic(name: str, four: Sequence[Pixels]) -> list[MarkedPhoto]:
    """Four photos in one, each at half its sides, and the box of each: the same photo four times, once for each quarter."""
    height, width = four[0].shape[:2]
    top, left = height // 2, width // 2
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    boxes = []
    for (row, column), pixels in zip(QUARTERS, four, strict=True):
        y0, y1 = (0, top) if row == 0 else (top, height)
        x0, x1 = (0, left) if column == 0 else (left, width)
        canvas[y0:y1, x0:x1] = np.asarray(Image.fromarray(pixels).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR))
        boxes.append((x0, y0, x1, y1))
    return [marked(f"{name}-quarter{number}.png", canvas, box) for number, box in enumerate(boxes)]


def truth_of(photos: Sequence[MarkedPhoto]) -> Truth:
    """What is known of the photos, as ground truth of any target."""
    marks: dict[str, dict[Name, list[tuple[Classes | None, Mark]]]] = {}
    for photo in photos:
        if photo.box is not None:
            name = Name.of(photo.source.path)
            shape = Rectangle(tuple(map(float, photo.box)))  # type: ignore[arg-type]
            marks[PurePath(photo.source.path).stem] = {name: [(None, Mark(name, None, shape))]}
    return Truth(marks, "planted")
