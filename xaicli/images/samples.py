"""The numbers of a photo of more than 8 bits or other than three bands, and how they become bands in 0..1 and a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.scaled_bands import Bands, ScaledBands, picture_of_rows, strips
from xaicli.images.window import DECLARED, Range, Window, extremes, scaled
from xaicli.words import count

Numbers = NDArray[Any]

LARGEST = 1 << 30
"""Bytes of an array's numbers at most."""

SHOWN_OF = 1 << 22
"""Of so many pixels of a photo, evenly spread, at most are the percentiles of `STRETCH` taken."""

STRETCH = (2.0, 98.0)
"""Percentiles that are black and white in the picture of a photo of more than three bands, which is drawn and never explained."""

VALUES_FROM, NO_VALUE, LEFT_OUT = "values from", "no value is above", "bands left out"
"""Words of notes: which values are black and white, that they are small for their bits, that not all bands count."""

WHOLE: dict[str, Range] = {"|b1": (0.0, 1.0), "|u1": (0.0, 255.0), "<u2": (0.0, 65535.0)}
"""What numbers of a type span, by the type: those for which all of it is what photos use."""


@dataclass(frozen=True)
class Reading:
    """How a file's numbers are wanted.

    channels: of the network, by which a file that could be read in two ways is read; window: which values are black and white;
    bands: numbers from 1 of the bands that are drawn as red, green and blue, or of one that is drawn as grey; () for the first
    three, or the only one; resized: the size to which a photo of (width, height) is resized, where a JPEG may be decoded smaller
    for that, else None.
    """

    channels: int = 3
    window: Window = field(default_factory=Window)
    bands: tuple[int, ...] = ()
    resized: Callable[[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True, eq=False)
class Samples:
    """The numbers of a photo as its file holds them.

    values: (C, H, W), real and finite; declared: the values that are black and white as the file says, or its type, None where
    nothing says; widest: those that its bits can hold, None for floats and wide integers; inverted: the smallest value is white;
    frames: pictures in the file; notes: what a user would not expect.
    """

    values: Numbers
    declared: Range | None
    widest: Range | None = None
    inverted: bool = False
    frames: int = 1
    notes: tuple[str, ...] = ()

    def bands(self, window: Window) -> tuple[ScaledBands, tuple[str, ...]]:
        """The bands (C, H, W) in 0..1, and what is black and white in words; raises InputError where nothing says that."""
        whole = WHOLE.get(self.values.dtype.str)
        # Bytes are pictures as they are, in a folder of photos of more bits too.
        is_bytes = self.values.dtype.itemsize == 1 and whole is not None
        limits = whole if is_bytes and whole else window.range_of(self.values, self.declared, self.widest)
        low, high = reversed(limits) if self.inverted else limits
        said = window_unused(window) if is_bytes else (f"{VALUES_FROM} {low:g} (black) to {high:g} (white)",)
        if whole == limits == WHOLE["<u2"] and window.text == DECLARED:
            said += bits_unused(int(self.values.max()))
        return ScaledBands(self.values, limits, self.inverted), said


def bits_unused(largest: int) -> tuple[str, ...]:
    """What to say of a photo of 16 bits whose values are small: a camera or scanner may have filled fewer bits, which its file
    does not say."""
    bits = next((bits for bits in (10, 12, 14) if largest < 2**bits), None)
    if bits is None:
        return ()
    return (f"{NO_VALUE} {2**bits - 1}: if white is that, as in photos of {bits} bits, give --window 0:{2**bits - 1}",)


def decides_pixels(note: str) -> bool:
    """Whether a note says how the numbers of a file became pixels, by which the model may decide."""
    return any(words in note for words in (VALUES_FROM, NO_VALUE, LEFT_OUT))


def window_unused(window: Window) -> tuple[str, ...]:
    """What to say of a photo of 8 bits, whose values are always 0 to 255, where a window was asked for."""
    return () if window.text == DECLARED else (f"{VALUES_FROM} 0 (black) to 255 (white): of 8 bits, whatever --window says",)


def samples_of(array: Numbers, channels: int = 3, *, channels_first: bool = False) -> Samples:
    """An array (H, W), (H, W, C) or (C, H, W) of real, finite numbers as samples.

    Which axis is that of channels: the one that has as many entries as the network takes; where both have, the last, or the first
    where `channels_first`; where none has, the shorter. Raises InputError.
    """
    refuse_unfit(array)
    if array.ndim == 2:
        return of_bands(array[None])
    first = channel_axis(array.shape, channels, channels_first) == 0
    return of_bands(array if first else array.transpose(2, 0, 1))


def channel_axis(shape: tuple[int, ...], channels: int, channels_first: bool) -> int:
    """The axis of channels of an array of three axes, 0 or 2, by the rule of `samples_of`."""
    first, last = shape[0], shape[2]
    if (first == channels) != (last == channels):
        return 0 if first == channels else 2
    if first != last:
        return 0 if first < last else 2
    return 0 if channels_first else 2


def of_bands(values: Numbers) -> Samples:
    """Bands (C, H, W) as samples, with what their type says of black and white."""
    refuse_unfit(values)
    whole = WHOLE.get(values.dtype.newbyteorder("<").str)
    unit = (0.0, 1.0) if values.dtype.kind == "f" and within_unit(values) else None
    return Samples(values, whole or unit, whole)


def refuse_unfit(array: Numbers) -> None:
    """Raise InputError for an array that is no photo, whatever the network takes."""
    found = f"an array of shape {array.shape}"
    if array.ndim not in (2, 3) or 0 in array.shape:
        batch = ", a batch of one" if array.ndim == 4 and len(array) == 1 else ""
        raise InputError(f"{found}{batch}", expected="(H, W), (H, W, C) or (C, H, W)")
    if array.dtype.kind not in "buif":
        raise InputError(f"an array of type {array.dtype}", expected="real numbers: integers, floats or bool")
    if array.nbytes > LARGEST:
        raise InputError(f"{found} and {count(array.nbytes, 'byte')}", expected=f"at most {LARGEST:,}")
    # The extremes show NaN and infinity, and take no memory.
    if array.dtype.kind == "f" and not bool(np.isfinite(extremes(array)).all()):
        raise InputError("an array of floats with NaN or infinity", expected="finite numbers")


def within_unit(array: Numbers) -> bool:
    low, high = extremes(array)
    return low >= 0 and high <= 1


def picture_of(bands: Bands | ScaledBands, shown: tuple[int, ...] = ()) -> Image.Image:
    """An RGB picture of bands (C, H, W) in 0..1: those that are named, from 1; by default the first three, or the first as grey.

    Of more than three bands those that are drawn are stretched together. Raises UsageError for a band that is not there.
    """
    chosen = shown or ((1, 2, 3) if len(bands) >= 3 else (1,))
    check_bands(chosen, len(bands))
    limits = stretch_of(bands, chosen) if len(bands) > 3 else None
    pixels = np.empty((*bands.shape[1:], len(chosen)), np.uint8)
    for rows in strips(bands.shape[1:]):
        for place, number in enumerate(chosen):
            part = picture_of_rows(bands, number - 1, rows)
            pixels[rows, :, place] = np.rint((part if limits is None else scaled(part, limits)) * 255)
    return Image.fromarray(pixels) if len(chosen) == 3 else Image.fromarray(pixels[..., 0]).convert("RGB")


def stretch_of(bands: Bands | ScaledBands, chosen: tuple[int, ...]) -> Range:
    """What is black and white of the bands that are drawn together: the percentiles of `STRETCH`."""
    step = math.isqrt(max(0, math.prod(bands.shape[1:]) - 1) // SHOWN_OF) + 1
    if isinstance(bands, ScaledBands):
        bands = replace(bands, values=bands.values[:, ::step, ::step])
    else:
        bands = bands[:, ::step, ::step]
    low, high = np.percentile(np.stack([bands[number - 1] for number in chosen]), STRETCH)
    return float(low), float(high)


def parse_bands(given: str | Sequence[int]) -> tuple[int, ...]:
    """Bands to draw as typed, `3+2+1` or `4`, or as numbers; () for the usual ones. Raises UsageError."""
    parts: list[Any] = given.split("+") if isinstance(given, str) and given.strip() else list(given or ())
    try:
        numbers = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        numbers = (0,)
    if numbers:
        check_bands(numbers, max(numbers), "+".join(map(str, parts)))
    return numbers


def check_bands(shown: tuple[int, ...], count: int, typed: str = "") -> None:
    """Raise UsageError for a choice of bands to draw that a photo of `count` bands does not have."""
    typed = typed or "+".join(map(str, shown))
    if len(shown) not in (1, 3) or min(shown) < 1:
        raise UsageError(f"--bands {typed:.60}", expected="one band, or three, numbered from 1, such as 3+2+1")
    if max(shown) > count:
        bands = f"{count} band{'s' if count != 1 else ''}"
        raise UsageError(f"--bands {typed} of a photo of {bands}", expected=f"numbers from 1 to {count}")


def redrawn(picture: Image.Image, shown: tuple[int, ...]) -> Image.Image:
    """An RGB photo with the colours that are named, from 1, in the places of red, green and blue."""
    if not shown or shown == (1, 2, 3):
        return picture
    check_bands(shown, 3)
    parts = picture.split()
    chosen = shown if len(shown) == 3 else shown * 3
    return Image.merge("RGB", [parts[number - 1] for number in chosen])


def turned(values: Numbers, orientation: object) -> Numbers:
    """Values (C, H, W) upright, by the orientation that EXIF and TIFF number 1 to 8."""
    turns = {
        2: lambda v: v[..., ::-1],
        3: lambda v: v[..., ::-1, ::-1],
        4: lambda v: v[..., ::-1, :],
        5: lambda v: v.swapaxes(-1, -2),
        6: lambda v: np.rot90(v, -1, (-2, -1)),
        7: lambda v: v.swapaxes(-1, -2)[..., ::-1, ::-1],
        8: lambda v: np.rot90(v, 1, (-2, -1)),
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return values if turn is None else turn(values)
