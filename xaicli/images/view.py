"""The model's view of a photo: resize, centre crop, normalise, and the geometry that leads back to the photo.

Coordinates are continuous: pixel i of a row covers [i, i + 1). `prepare` returns, bit for bit, what torchvision's Resize,
CenterCrop, conversion to float and Normalize return for a PIL photo.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xaicli import words
from xaicli.errors import InputError, UsageError, XaiError, did_you_mean
from xaicli.images.geometry import Geometry, offset
from xaicli.images.large_photo import LargePhoto
from xaicli.images.reduced_photo import ReducedPhoto
from xaicli.images.scaled_bands import Band, ScaledBands
from xaicli.images.view_values import ORDERS, check_fast_decode, check_frames, join, length, per_channel, positive, sides
from xaicli.images.window import DECLARED, Window

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Picture = Image.Image | LargePhoto | ReducedPhoto
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
    """How a photo becomes the input (C, H, W) of a network.

    resize: the length of the shorter side in pixels, an exact (height, width), or None; crop: the centre crop, a side or (height,
    width), or None; a photo smaller than the crop is padded with black. interpolation: one of `INTERPOLATIONS`, which are PIL's
    and antialias when they shrink. mean, std: one number for each channel, in the network's order; a pixel p in 0..1 becomes the
    input `(scale p - mean) / std`. window: which values of a photo of more than 8 bits are black and white, see `Window`; scale:
    the value of white before mean and std, 255 for networks that take bytes; order: `rgb`, or `bgr` for networks that take blue
    first. letterbox: the grey, 0..255, around a photo that is fitted whole, its proportions kept, into a resize of exact (height,
    width), as detectors take it. frames: how many frames of a sequence the input holds, 0 for a photo; their channels follow one
    another, so that the input is (frames C, H, W); frame_step: of how many frames one is taken; fast_decode: a JPEG that is much
    larger than what it is resized to is decoded at a half, a quarter or an eighth of its size. Raises UsageError if these do not
    fix the input size.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    letterbox: int | None = None
    window: str = DECLARED
    scale: float = 1.0
    order: str = "rgb"
    frames: int = 0
    frame_step: int = 1
    fast_decode: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "resize", length("resize", self.resize))
        object.__setattr__(self, "crop", length("crop", self.crop))
        object.__setattr__(self, "scale", positive("input scale", self.scale))
        object.__setattr__(self, "mean", per_channel("mean", self.mean, self.scale))
        object.__setattr__(self, "std", per_channel("std", self.std, self.scale))
        object.__setattr__(self, "window", Window.parse(self.window).text)
        check_frames(self.frames, self.frame_step)
        if min(self.std) <= 0:
            raise UsageError(f"std {join(self.std)} is not a standard deviation", expected="numbers above 0")
        self.check_channels()
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f'no interpolation "{self.interpolation}"',
                expected=", ".join(INTERPOLATIONS),
                hint=did_you_mean(str(self.interpolation), INTERPOLATIONS),
            )
        check_fast_decode(self.fast_decode, self.resize, self.interpolation, self.frames)
        if self.crop is None and not isinstance(self.resize, tuple):
            raise UsageError(
                f"{self.describe()} does not fix the input size",
                expected="a crop, or a resize to an exact HEIGHT x WIDTH",
                hint="Give --crop SIDE.",
            )
        if self.letterbox is not None and (not isinstance(self.resize, tuple) or self.crop is not None):
            raise UsageError(f"a letterbox with {self.describe()}", expected="a resize to an exact HEIGHT x WIDTH, and no crop")
        if self.size[0] * self.size[1] * max(1, self.frames) > LARGEST_INPUT:
            each = f"{self.describe_frames()} of " if self.frames else ""
            raise UsageError(
                f"an input of {each}{self.size[0]} x {self.size[1]} pixels", expected=f"at most {LARGEST_INPUT:,} pixels in all"
            )

    def check_channels(self) -> None:
        """Raise UsageError where mean, std and order are not of one number of channels."""
        if len(self.mean) != len(self.std):
            raise UsageError(
                f"mean {join(self.mean)} has {len(self.mean)} numbers and std {join(self.std)} has {len(self.std)}",
                expected="one of each for every channel of the network",
            )
        if self.order not in ORDERS:
            raise UsageError(f'no input order "{self.order}"', expected=" or ".join(ORDERS))
        if self.order != ORDERS[0] and len(self.mean) != 3:
            raise UsageError(
                f"input order {self.order} of {words.count(len(self.mean), 'channel')}", expected="three, which are colours"
            )

    @property
    def channels(self) -> int:
        """How many channels the input has: of a sequence, those of all frames."""
        return len(self.mean) * max(1, self.frames)

    @property
    def of_frame(self) -> View:
        """The view of one frame of a sequence; of a photo, the view itself."""
        return dataclasses.replace(self, frames=0, frame_step=1) if self.frames else self

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        if self.crop is not None:
            return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
        assert isinstance(self.resize, tuple)
        return self.resize

    @property
    def padding(self) -> str:
        """In words, why every photo gets black edges; "" where a photo can fill the input."""
        if self.crop is None or self.resize is None:
            return ""
        exact = self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize)
        short = min(self.size) > exact[0] if isinstance(self.resize, int) else any(map(operator.lt, exact, self.size))
        return f"photos resized to {sides(self.resize)} are padded with black to the crop of {sides(self.size)}" if short else ""

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
        return Geometry((width, height), resized, (left, top), (out_width, out_height), self.frames)

    def prepare(self, photo: Picture) -> Tensor:
        """The input (C, H, W), float32, of an RGB photo: of one channel its grey, of three its colours; others are refused."""
        if photo.mode != "RGB":
            raise InputError(f"a photo in mode {photo.mode}", expected="RGB", hint="Pass it through xaicli.images.decode.")
        if self.channels not in (1, 3):
            raise self.other_bands(3)
        kept, around = (photo, (self.letterbox or 0,) * 3) if self.channels == 3 else (photo.convert("L"), self.letterbox or 0)
        picture = self.resize_and_crop(kept, INTERPOLATIONS[self.interpolation], around)
        pixels = torch.from_numpy(np.atleast_3d(np.array(picture, dtype=np.uint8))).permute(2, 0, 1).contiguous()
        pixels = pixels if self.order == "rgb" else pixels.flip(0)
        return self.normalise(pixels.to(torch.float32).div_(255))

    def prepare_bands(self, bands: ScaledBands) -> Tensor:
        """The input (C, H, W), float32, of bands (C, H, W) in 0..1; raises InputError for another number of bands."""
        if len(bands) != self.channels:
            raise self.other_bands(len(bands))
        interpolation, around = INTERPOLATIONS[self.interpolation], (self.letterbox or 0) / 255
        pictures = (Band(bands, at) for at in range(len(bands)))
        cut = [np.asarray(self.resize_and_crop(picture, interpolation, around)) for picture in pictures]
        # Filters with negative lobes reach past black and white, and pictures of bytes are cut off there too.
        pixels = torch.from_numpy(np.stack(cut if self.order == "rgb" else cut[::-1]).clip(0, 1))
        return self.normalise(pixels)

    def other_bands(self, count: int) -> InputError:
        """The refusal of a photo of another number of bands than the network takes."""
        wanted = f"{self.channels}, as many as the network takes channels"
        named = "grey or colour photos" if self.channels in (1, 3) else f"photos of {self.channels} bands (TIFF, .npy, .npz)"
        hint = f"Name {named}, or another --model."
        return InputError(f"a photo of {count} band{'s' if count != 1 else ''}", expected=wanted, hint=hint)

    def prepare_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask over the photo, bool (h, w), as the model sees it: bool (H, W), nearest, False in the padding."""
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise InputError(f"a mask of shape {mask.shape} and type {mask.dtype}", expected="bool (height, width)")
        picture = self.resize_and_crop(Image.fromarray(mask.astype(np.uint8) * 255), Image.Resampling.NEAREST)
        return np.asarray(picture) > 127

    def resize_and_crop(
        self, picture: Picture | Band, interpolation: Image.Resampling, around: tuple[int, ...] | float = 0
    ) -> Image.Image:
        """Resize and crop. A crop larger than the picture pads with black, a letterbox with the colour `around`."""
        geometry = self.geometry(*picture.size)
        if isinstance(picture, ReducedPhoto) or geometry.resized != picture.size:
            picture = picture.resize(geometry.resized, interpolation)
        elif isinstance(picture, Band):
            picture = picture.whole()
        (left, top), (width, height) = geometry.offset, geometry.size
        if isinstance(picture, LargePhoto):
            # No view is as large as such a photo: what is not resized is cropped.
            return picture.crop((left, top, left + width, top + height))
        if (left, top, width, height) == (0, 0, *picture.size):
            return picture
        if self.letterbox is not None:
            box = Image.new(picture.mode, (width, height), around)
            box.paste(picture, (-left, -top))
            return box
        return picture.crop((left, top, left + width, top + height))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels 0..1, (..., C, H, W), to inputs: times the scale, minus the mean, divided by the standard deviation."""
        scaled = pixels if self.scale == 1 else pixels * self.scale
        return (scaled - self.column(self.mean, pixels)) / self.column(self.std, pixels)

    def unnormalise(self, inputs: Tensor) -> Tensor:
        """The inverse of `normalise`; not clipped, differentiable."""
        scaled = inputs * self.column(self.std, inputs) + self.column(self.mean, inputs)
        return scaled if self.scale == 1 else scaled / self.scale

    def pixels(self, inputs: Tensor) -> Tensor:
        """Pixels of normalised inputs (..., C, H, W), clipped to 0..1, in the network's order."""
        return self.unnormalise(inputs).clamp(0, 1)

    def colours(self, inputs: Tensor) -> Tensor:
        """Red, green and blue (..., 3, H, W) in 0..1 of normalised inputs, for what looks at colours.

        Of one or two channels the first as grey; of more than three the first three, stretched together to the whole range; of a
        sequence the mean of its frames.
        """
        if self.frames:
            return self.of_frame.colours(inputs.unflatten(-3, (self.frames, -1)).mean(dim=-4))
        pixels = self.pixels(inputs)
        if self.channels == 3:
            return pixels if self.order == "rgb" else pixels.flip(-3)
        if self.channels < 3:
            return pixels[..., :1, :, :].expand(*pixels.shape[:-3], 3, *pixels.shape[-2:])
        first = pixels[..., :3, :, :]
        low, high = first.amin(dim=(-3, -2, -1), keepdim=True), first.amax(dim=(-3, -2, -1), keepdim=True)
        return (first - low) / (high - low).clamp_min(torch.finfo(first.dtype).tiny)

    def column(self, numbers: Sequence[float], like: Tensor) -> Tensor:
        each = tuple(numbers) * max(1, self.frames)
        return torch.tensor(each, dtype=like.dtype, device=like.device).view(-1, 1, 1)

    def describe(self) -> str:
        """In words: "resize 256, crop 224, bilinear"; with channels, window, scale and order where these are unusual."""
        fit = "resize" if self.letterbox is None else "letterbox"
        parts = [] if self.resize is None else [f"{fit} {sides(self.resize)}"]
        parts += [] if self.crop is None else [f"crop {sides(self.crop)}"]
        parts += ["padded with black"] if self.padding else []
        parts += [self.interpolation]
        if len(self.mean) == 1:
            parts += ["1 channel: colour photos become grey"]
        elif len(self.mean) != 3:
            parts += [f"{len(self.mean)} channels"]
        parts += [self.describe_frames()] if self.frames else []
        parts += [] if self.window == DECLARED else [f"window {self.window}"]
        parts += ["JPEGs decoded fast"] if self.fast_decode else []
        parts += [] if self.scale == 1 else [f"inputs 0 to {self.scale:g}"]
        return ", ".join([*parts, *([] if self.order == "rgb" else ["blue first"])])

    def describe_frames(self) -> str:
        """In words: "16 frames", "8 frames, one of 2"."""
        counted = f"{self.frames} frame{'s' if self.frames != 1 else ''}"
        return counted if self.frame_step == 1 else f"{counted}, one of {self.frame_step}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the record and the model's fingerprint; `LATER` settings where they are not the usual ones."""
        plain = dataclasses.asdict(self)
        usual = {field.name: field.default for field in dataclasses.fields(self) if field.name in LATER}
        kept = {key: value for key, value in plain.items() if key not in usual or value != usual[key]}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> View:
        """The inverse of `as_dict`; raises InputError if `content` is not a view."""
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, Mapping) or not known - LATER <= set(content) <= known:
            raise InputError("the record of a view is not complete", expected=", ".join(sorted(known - LATER)))
        try:
            return cls(**content)
        except XaiError as error:
            raise InputError(error.found, expected=error.expected) from error


LATER = {"window", "scale", "order", "letterbox", "frames", "frame_step", "fast_decode"}
"""Settings that came after views were first stamped: at their defaults they are no part of a stamp."""


def fitted(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a photo that is scaled to fit into `size` (height, width) with its proportions kept."""
    scale = min(size[1] / width, size[0] / height)
    return max(1, min(size[1], round(width * scale))), max(1, min(size[0], round(height * scale)))
