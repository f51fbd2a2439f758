"""The view of a processor of transformers.

Each processor describes its work in its own way. Of twenty processors that a view can reproduce, four give their sizes an unusual
meaning: with a view read from the settings alone, the inputs of ConvNeXT, LeViT, PoolFormer and Perceiver were wrong by 0.4 to
1.0 standard deviations, and MobileViT swaps colours. So colours are measured on plain pictures. Among the few geometries that the
settings can mean, the one that reproduces the processor's inputs for two test pictures is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.from_timm import view_of as timm_view
from xaicli.models.model_request import Notice

RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
"""PIL's numbers, by which a processor states its interpolation."""
AGREES = 0.02
"""View and processor count as equal up to this mean difference, in standard deviations of the inputs, since they round
differently."""
Sizes = tuple[int | tuple[int, int] | None, int | tuple[int, int] | None]


@dataclass(frozen=True)
class Colours:
    """What a processor does to red, green and blue in 0..1, or to grey; `reverse`: it returns blue first."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool

    @property
    def mode(self) -> str:
        """The mode of pictures that the processor takes, as Pillow names it."""
        return "L" if len(self.mean) == 1 else "RGB"


def run(processor: Any, picture: Image.Image) -> Tensor:
    """The processor's input (C, H, W) of a picture."""
    pixels: Tensor = processor(images=picture, return_tensors="pt")["pixel_values"][0]
    return pixels.float()


def measure_colours(processor: Any, channels: int = 3) -> Colours:
    """The mean and standard deviation with which a view normalises as the processor does; raises InputError if there are none.

    channels: of the network's input; where it is 1 the processor is given grey pictures.
    """
    mode = "L" if channels == 1 else "RGB"
    plain = [Image.new("RGB", (256, 256), colour).convert(mode) for colour in ("black", "white", "#ff0000")]
    black, white, red = (centre(run(processor, picture)) for picture in plain)
    spread = [high - low for low, high in zip(black, white, strict=True)]
    if len(spread) != (1 if channels == 1 else 3) or min(spread) <= 0:
        wanted = "one grey channel" if channels == 1 else "three colour channels"
        raise InputError(f"the image processor does not give {wanted}, each brighter where the photo is brighter")
    # Six digits, so that 0.48500001 (0.485 in float32) becomes 0.485 again.
    std = [rounded(1 / step) for step in spread]
    mean = [rounded(-low / step) for low, step in zip(black, spread, strict=True)]
    reverse = channels != 1 and abs(red[0] - black[0]) < abs(red[2] - black[2])
    if reverse:
        mean, std = mean[::-1], std[::-1]
    return Colours(tuple(mean), tuple(std), reverse)


def centre(pixels: Tensor) -> list[float]:
    values: list[float] = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].double().tolist()
    return values


def rounded(value: float) -> float:
    return float(f"{value:.6g}") + 0.0


def view_of(processor: Any, colours: Colours, name: str, notice: Notice) -> View:
    """The view that comes nearest to the processor on a wide and on a tall picture; gives a notice if it is not near."""
    config = getattr(processor, "data_config", None)
    if isinstance(config, Mapping):
        return timm_view(config, notice)
    stated = getattr(processor, "resample", None)
    interpolation = RESAMPLING.get(2 if stated is None else int(stated), "bilinear")
    pictures = [texture(320, 240), texture(240, 320)]
    wanted = [run(processor, picture.convert(colours.mode)) for picture in pictures]
    best, least = None, float("inf")
    for resize, crop in candidates(processor, (wanted[0].shape[1], wanted[0].shape[2])):
        view = View(resize, crop, interpolation, colours.mean, colours.std)
        difference = max(distance(view, colours, *pair) for pair in zip(pictures, wanted, strict=True))
        if difference < least - 1e-6:
            best, least = view, difference
    if best is None:
        raise InputError(f"the image processor of {name} states no size", hint="Give --resize and --crop.")
    if least > AGREES:
        notice(
            f"the image processor of {name} does more than resize, crop and normalise: {best.describe()} comes nearest, "
            f"and differs from it by {least:.2f} standard deviations"
        )
    return best


def candidates(processor: Any, size: tuple[int, int]) -> Iterator[Sizes]:
    """(resize, crop) that the settings can mean, the plainest first; `size` is that of the processor's output."""
    side: int | tuple[int, int] = size[0] if size[0] == size[1] else size
    if not getattr(processor, "do_resize", True):
        yield None, side
        return
    stated = getattr(processor, "size", None)
    exact, edge = (number(stated, "height"), number(stated, "width")), number(stated, "shortest_edge")
    if exact[0] and exact[1]:
        yield (exact[0], exact[1]), None if exact == size else side
        edge = edge or min(exact[0], exact[1])
    if edge:
        share = getattr(processor, "crop_pct", None)
        yield edge, side
        if share:
            yield int(edge / share), side
        # LeViT states the crop as its size, and resizes by the usual proportion.
        yield int(256 / 224 * edge), side
    yield size, None


def number(stated: Any, key: str) -> int | None:
    value = stated.get(key) if isinstance(stated, Mapping) else getattr(stated, key, None)
    return int(value) if value else None


def texture(width: int, height: int) -> Image.Image:
    """A smooth picture without symmetry: any other crop changes every pixel."""
    coarse = np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def distance(view: View, colours: Colours, picture: Image.Image, wanted: Tensor) -> float:
    """Mean difference of the view's and the processor's inputs, in standard deviations of the latter."""
    given = view.prepare(picture)
    given = given.flip(0) if colours.reverse else given
    if given.shape != wanted.shape:
        return float("inf")
    return float((given - wanted).abs().mean() / wanted.std().clamp_min(1e-6))
