"""Scenes of coloured shapes on a mottled ground, with their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from tools.drawn.cell_detector import KINDS, SIDE

COLOURS = {"red": (214, 48, 42), "blue": (48, 84, 200), "yellow": (240, 200, 50)}
LARGER = 2
"""Scenes are drawn so many times larger and shrunk, which softens edges."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """A picture, and for each thing its index in KINDS and its box: left, top, right, bottom, as parts of the side."""

    picture: Image.Image
    kinds: tuple[int, ...]
    boxes: tuple[Box, ...]

    @property
    def pixels(self) -> Tensor:
        """(3, side, side), -1 to 1."""
        return torch.from_numpy(np.array(self.picture)).permute(2, 0, 1) / 127.5 - 1


def draw_scene(seed: int, side: int = SIDE, *, most: int = 4, kinds: tuple[int, ...] = (), noise: float = 6) -> Scene:
    """A scene that its seed fixes, of one to `most` things that do not overlap; kinds: those to draw, else drawn by lot."""
    random = np.random.default_rng(seed)
    chosen = kinds or tuple(int(kind) for kind in random.permutation(len(KINDS))[: random.integers(1, most + 1)])
    large = side * LARGER
    picture = ground(random).resize((large, large), Image.Resampling.BICUBIC)
    drawn = ImageDraw.Draw(picture)
    boxes: list[Box] = []
    for kind in chosen:
        if (box := free_box(random, boxes)) is None:
            break
        boxes.append(box)
        draw_thing(drawn, kind, tuple(large * place for place in box), random)
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BOX)) + random.normal(0, noise, (side, side, 3))
    return Scene(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), chosen[: len(boxes)], tuple(boxes))


def ground(random: np.random.Generator) -> Image.Image:
    """Blotches of muted colours, a pixel each."""
    coarse = random.integers(90, 190, (6, 6, 1)) + random.integers(-25, 25, (6, 6, 3))
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8))


def free_box(random: np.random.Generator, taken: list[Box]) -> Box | None:
    """A box beside those that are taken; None where none is found."""
    for _ in range(50):
        size = float(random.uniform(0.2, 0.34))
        left, top = (float(place) for place in random.uniform(0.02, 0.98 - size, 2))
        box = (left, top, left + size, top + size)
        if all(box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1] for other in taken):
            return box
    return None


def draw_thing(drawn: ImageDraw.ImageDraw, kind: int, box: tuple[float, ...], random: np.random.Generator) -> None:
    name, shape = KINDS[kind].split()
    colour = tuple(int(value) for value in np.clip(np.array(COLOURS[name]) + random.integers(-18, 19, 3), 0, 255))
    left, top, right, bottom = box
    if shape == "circle":
        drawn.ellipse(box, fill=colour)
    elif shape == "square":
        drawn.rectangle(box, fill=colour)
    else:
        drawn.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=colour)
