"""The model's view of a photo: resize, centre crop, normalise, and the geometry that leads back to the photo.

Coordinates are continuous: pixel i of a row covers [i, i + 1). `prepare` returns, bit for bit, what torchvision's Resize,
CenterCrop, conversion to float and Normalize return for a PIL photo.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xaicli.errors import InputError, UsageError, XaiError, did_you_mean
from xaicli.images.geometry import Geometry, offset

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_INPUT = 1 << 26
"""Pixels: 8192 x 8192."""
LARGEST_RESIZED = 200_000_000
"""Maximum pixels after the resize. A photo of extreme proportions, whose shorter side is resized, may exceed it and is
refused."""

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class View:
    """How a photo becomes the input (3, H, W) of a network.

    resize: the length of the shorter side in pixels, an exact (height, width), or None; crop: the centre crop, a side or (height,
    width), or None; a photo smaller than the crop is padded with black. interpolation: one of `INTERPOLATIONS`, which are PIL's
    and antialias when they shrink. mean, std: of the three colours in 0..1. letterbox: the grey, 0..255, around a photo that is
    fitted whole, its proportions kept, into a resize of exact (height, width), as detectors take it. Raises UsageError if these
    do not fix the input size.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    letterbox: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "resize", length("resize", self.resize))
        object.__setattr__(self, "crop", length("crop", self.crop))
        object.__setattr__(self, "mean", colour("mean", self.mean))
        object.__setattr__(self, "std", colour("std", self.std))
        if min(self.std) <= 0:
            raise UsageError(f"std {join(self.std)} is not a standard deviation", expected="three numbers above 0")
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f'no interpolation "{self.interpolation}"',
                expected=", ".join(INTERPOLATIONS),
                hint=did_you_mean(str(self.interpolation), INTERPOLATIONS),
            )
        if self.crop is None and not isinstance(self.resize, tuple):
            raise UsageError(
                f"{self.describe()} does not fix the input size",
                expected="a crop, or a resize to an exact HEIGHT x WIDTH",
                hint="Give --crop SIDE.",
            )
        if self.letterbox is not None and (not isinstance(self.resize, tuple) or self.crop is not None):
            raise UsageError(f"a letterbox with {self.describe()}", expected="a resize to an exact HEIGHT x WIDTH, and no crop")
        if self.size[0] * self.size[1] > LARGEST_INPUT:
            raise UsageError(
                f"an input of {self.size[0]} x {self.size[1]} pixels", expected=f"at most {LARGEST_INPUT:,} pixels in all"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        if self.crop is not None:
            return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
        assert isinstance(self.resize, tuple)
        return self.resize

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a photo after the resize, rounded as torchvision rounds."""
        if self.resize is None:
            return width, height
        if isinstance(self.resize, tuple) and self.letterbox is not None:
            return fitted(width, height, self.resize)
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        long = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, long) if width <= height else (long, self.resize)

    def geometry(self, width: int, height: int) -> Geometry:
        """The mapping of a photo of that size to the view; raises InputError if its proportions are too extreme."""
        if width < 1 or height < 1:
            raise InputError(f"a photo of {width} x {height} pixels", expected="at least one pixel")
        resized = self.resized(width, height)
        if resized[0] * resized[1] > LARGEST_RESIZED:
            raise InputError(
                f"a photo of {width} x {height} pixels becomes {resized[0]} x {resized[1]} when its shorter side is resized",
                expected=f"at most {LARGEST_RESIZED:,} pixels",
                hint="Crop the photo, or resize to an exact HEIGHT x WIDTH.",
            )
        out_height, out_width = self.size
        whole = self.crop is None and self.letterbox is None
        left, top = (0, 0) if whole else (offset(resized[0], out_width), offset(resized[1], out_height))
        return Geometry((width, height), resized, (left, top), (out_width, out_height))

    def prepare(self, photo: Image.Image) -> Tensor:
        """The input (3, H, W), float32, of an RGB photo."""
        if photo.mode != "RGB":
            raise InputError(f"a photo in mode {photo.mode}", expected="RGB", hint="Pass it through xaicli.images.decode.")
        picture = self.resize_and_crop(photo, INTERPOLATIONS[self.interpolation], (self.letterbox or 0,) * 3)
        pixels = torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1).contiguous()
        return self.normalise(pixels.to(torch.float32).div_(255))

    def prepare_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask over the photo, bool (h, w), as the model sees it: bool (H, W), nearest, False in the padding."""
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise InputError(f"a mask of shape {mask.shape} and type {mask.dtype}", expected="bool (height, width)")
        picture = self.resize_and_crop(Image.fromarray(mask.astype(np.uint8) * 255), Image.Resampling.NEAREST)
        return np.asarray(picture) > 127

    def resize_and_crop(
        self, picture: Image.Image, interpolation: Image.Resampling, around: tuple[int, ...] | int = 0
    ) -> Image.Image:
        """Resize and crop. A crop larger than the picture pads with black, a letterbox with the colour `around`."""
        geometry = self.geometry(picture.width, picture.height)
        if geometry.resized != picture.size:
            picture = picture.resize(geometry.resized, interpolation)
        (left, top), (width, height) = geometry.offset, geometry.size
        if (left, top, width, height) == (0, 0, *picture.size):
            return picture
        if self.letterbox is not None:
            box = Image.new(picture.mode, (width, height), around)
            box.paste(picture, (-left, -top))
            return box
        return picture.crop((left, top, left + width, top + height))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Colours 0..1, (..., 3, H, W), minus the mean, divided by the standard deviation."""
        return (pixels - self.column(self.mean, pixels)) / self.column(self.std, pixels)

    def unnormalise(self, inputs: Tensor) -> Tensor:
        """The inverse of `normalise`; not clipped, differentiable."""
        return inputs * self.column(self.std, inputs) + self.column(self.mean, inputs)

    def pixels(self, inputs: Tensor) -> Tensor:
        """Colours of normalised inputs (..., 3, H, W), clipped to 0..1."""
        return self.unnormalise(inputs).clamp(0, 1)

    @staticmethod
    def column(colour: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(colour, dtype=like.dtype, device=like.device).view(3, 1, 1)

    def describe(self) -> str:
        """In words: "resize 256, crop 224, bilinear"."""
        fit = "resize" if self.letterbox is None else "letterbox"
        parts = [] if self.resize is None else [f"{fit} {sides(self.resize)}"]
        parts += [] if self.crop is None else [f"crop {sides(self.crop)}"]
        return ", ".join([*parts, self.interpolation])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the record and the model's fingerprint; a letterbox only if there is one."""
        plain = dataclasses.asdict(self)
        if self.letterbox is None:
            del plain["letterbox"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> View:
        """The inverse of `as_dict`; raises InputError if `content` is not a view."""
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, Mapping) or set(content) | {"letterbox"} != known:
            raise InputError("the record of a view is not complete", expected=", ".join(sorted(known)))
        try:
            return cls(**content)
        except XaiError as error:
            raise InputError(error.found, expected=error.expected) from error


def fitted(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a photo that is scaled to fit into `size` (height, width) with its proportions kept."""
    scale = min(size[1] / width, size[0] / height)
    return max(1, min(size[1], round(width * scale))), max(1, min(size[0], round(height * scale)))


def length(name: str, value: Any) -> int | tuple[int, int] | None:
    """A side or (height, width) in pixels, checked; a list of one side, as in torchvision's presets, is that side."""
    if value is None:
        return None
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not 1 <= len(numbers) <= 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise UsageError(f"{name} {value!r} is not a size", expected="a whole number of pixels above 0, or HEIGHT and WIDTH")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


LARGEST_COLOUR = 3.0
"""A larger mean or standard deviation is not in units of 0..1: those lie below 1, or not far above for unusual networks."""


def colour(name: str, value: Any) -> tuple[float, float, float]:
    """Three finite numbers."""
    try:
        red, green, blue = (float(part) for part in value)
    except (TypeError, ValueError):
        red = math.nan
    if math.isnan(red) or not all(math.isfinite(part) for part in (red, green, blue)):
        raise UsageError(f"{name} {value!r} is not a colour", expected="three numbers, one each for red, green and blue")
    if max(red, green, blue) > LARGEST_COLOUR:
        scaled = join([part / 255 for part in (red, green, blue)])
        raise UsageError(f"{name} {join((red, green, blue))} is in units of 0 to 255", expected="0 to 1", hint=f"Write {scaled}.")
    return red, green, blue


def join(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def sides(value: int | tuple[int, int]) -> str:
    """A size in words: "224", or "192 x 224" as height x width."""
    return str(value) if isinstance(value, int) else f"{value[0]} x {value[1]}"
