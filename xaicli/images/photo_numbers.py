"""Photos that are numbers rather than colours of 8 bits: which bytes and arrays they are, and what becomes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.array_file import NPY, is_array, read_array
from xaicli.images.decode_limits import Timed
from xaicli.images.deep_png import read_deep_png, wants_all_bits
from xaicli.images.dicom_file import is_dicom, read_dicom
from xaicli.images.footprint import refuse_heavy_numbers
from xaicli.images.pixels import TIFF_BITS, TIFF_PHOTOMETRIC, first, numbers_of, stated_ends
from xaicli.images.samples import Numbers, Reading, Samples, of_bands, picture_of, refuse_unfit, samples_of
from xaicli.images.scaled_bands import ScaledBands
from xaicli.images.tiff_bands import read_tiff, wants_tifffile
from xaicli.images.window import DECLARED, Range, extremes

Colour = tuple[int, int, int]


COPIES = 4
"""How many times the memory of its numbers a photo takes while it is decoded: bands in 0..1 and a picture beside them."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """What was decoded: an RGB picture; the bands (C, H, W) in 0..1 where the picture is not all there is; frames in the file;
    notes."""

    image: Image.Image
    bands: ScaledBands | None = None
    frames: int = 1
    notes: tuple[str, ...] = ()


def pixels_of(samples: Samples, reading: Reading) -> Pixels:
    bands, said = samples.bands(reading.window)
    return Pixels(picture_of(bands, reading.bands), bands, samples.frames, (*samples.notes, *said))


def pixels_in(
    timed: Timed,
    content: bytes,
    name: str,
    frame: int,
    background: Colour,
    reading: Reading,
    max_pixels: int,
    admit: Callable[[int], None],
) -> Pixels | None:
    """The pixels of an array file, a DICOM file or a TIFF of many bands; None for all that Pillow reads.

    timed: the same content, with a clock; admit: called with the memory that decoding takes, before it is taken. Raises
    InputError, and whatever a library raises on damaged bytes.
    """
    if is_array(content):
        if frame:
            raise InputError(f"frame {frame} of an array", expected="frame 0")
        admit(COPIES * len(content))
        array = read_array(content)
        refuse_unfit(array)
        apart = 0 if content.startswith(NPY) else array.nbytes
        refuse_heavy_numbers(array.size // (min(array.shape) if array.ndim == 3 else 1), apart, len(content))
        return pixels_of_array(array, reading)
    if is_dicom(content):
        wait = functools.partial(paused, timed, admit)
        samples = read_dicom(timed, content, frame, max_pixels, wait, declared=reading.window.text == DECLARED)
        return pixels_of(samples, reading)
    if wants_tifffile(content, reading):
        wait = functools.partial(paused, timed, admit)
        return pixels_of(read_tiff(timed, content, reading, frame, max_pixels, wait), reading)
    if wants_all_bits(content, reading):
        wait = functools.partial(paused, timed, admit)
        return pixels_of(read_deep_png(timed, content, max_pixels, wait, reading.channels), reading)
    return None


def paused(timed: Timed, admit: Callable[[int], None], size: int) -> None:
    """Wait for room with the clock stopped."""
    timed.pause(lambda: admit(COPIES * size))


def pixels_of_array(array: Numbers, reading: Reading, *, channels_first: bool = False) -> Pixels:
    """An array of a file or in memory: bytes in grey or colours as the picture that they are, all other numbers as bands."""
    samples = samples_of(array, reading.channels, channels_first=channels_first)
    values = samples.values
    colours = len(values) == 3 or (len(values) == 1 and reading.channels == 3)
    plain = colours and reading.channels in (1, 3) and reading.window.text == DECLARED
    if plain and values.dtype.kind in "bu" and values.dtype.itemsize == 1:
        pixels = values if values.dtype == np.uint8 else values.astype(np.uint8) * np.uint8(255)
        return Pixels(Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))))
    return pixels_of(samples, reading)


def samples_of_picture(image: Image.Image, reading: Reading, white: int | None = None) -> Samples | None:
    """What Pillow loaded as samples, where its 8-bit colours would not do; None where they do.

    white: the largest value of 16 bits that are not all used.
    """
    if reading.channels not in (1, 3):
        fits = image.mode in ("LA", "RGBA") and len(image.getbands()) == reading.channels
        return of_bands(np.moveaxis(np.asarray(image), -1, 0)) if fits else None
    deep = image.mode.startswith("I") or image.mode == "F"
    if not deep or (reading.channels == 3 and reading.window.text == DECLARED):
        return None
    values = numbers_of(image)[None]
    declared, widest = grey_range(image, values, white)
    inverted = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == 0
    return Samples(of_bands(values).values, declared, widest, inverted)


def grey_range(image: Image.Image, values: Numbers, white: int | None) -> tuple[Range, Range | None]:
    """What is black and white of grey values, as in `pixels.to_rgb`, and what their bits can hold."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG")):
        low, high = stated = stated_ends(image) or extremes(values)
        return (0.0, 1.0) if image.mode == "F" and low >= 0 and high <= 1 else stated, None
    bits = first(getattr(image, "tag_v2", {}).get(TIFF_BITS), 16)
    widest = (0.0, 2.0 ** (bits if 8 < bits <= 16 else 16) - 1)
    return (0.0, float(white)) if white else widest, widest
