"""TIFF files that Pillow cannot read as they are: of many bands, or of colours of 16 bits; read by tifffile."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from xaicli.errors import InputError
from xaicli.images.decode_limits import Timed
from xaicli.images.footprint import refuse_heavy_numbers
from xaicli.images.pixels import ends_in
from xaicli.images.samples import Reading, Samples, of_bands, turned
from xaicli.images.tiff_directory import MAGICS, tiff_tag
from xaicli.images.tiff_packing import BY_PILLOW, unpacked
from xaicli.images.window import DECLARED, Range
from xaicli.packages import require

BIG_ENDIAN_BIG = b"MM\0+"
"""How a big-endian BigTIFF begins, which Pillow does not read."""
BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANES = 258, 259, 262, 274, 277, 284
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
UNSIGNED = 1
APART = 2
"""The planes of bands lie one behind the other."""
WIDEST_BY_PILLOW = 32
ALPHA = (1, 2)
LARGEST_VALUE = 281
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2


def wants_tifffile(content: bytes, reading: Reading) -> bool:
    """Whether a file is a TIFF that tifffile is to read.

    For networks of one or three channels Pillow reads greys and colours; where a file has other bands, or colours of 16 bits that
    are not all used, or signed, float or 32-bit colours, or numbers or a way of packing that it does not know, it cannot. It
    takes a fourth band for transparency even where the file does not say so.
    """
    if content[:4] not in MAGICS:
        return False
    if content[:4] == BIG_ENDIAN_BIG:
        return True
    if reading.channels not in (1, 3) or (tiff_tag(content, COMPRESSION) or 1) not in BY_PILLOW:
        return True
    samples, photometric = tiff_tag(content, SAMPLES) or 1, tiff_tag(content, PHOTOMETRIC)
    bits, colours = tiff_tag(content, BITS) or 8, photometric == RGB
    deep, unsigned = samples > 1 and bits > 8, (tiff_tag(content, SAMPLE_FORMAT) or UNSIGNED) == UNSIGNED
    if bits > WIDEST_BY_PILLOW or (deep and tiff_tag(content, PLANES) == APART):
        return True
    if deep and (bits != 16 or not unsigned):
        return True
    # Pillow leaves the sign of bytes aside, and reads floats as if 0 were black.
    if not unsigned and (bits == 8 or photometric == WHITE_IS_ZERO):
        return True
    if samples > 2 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return True
    if samples == 4 and colours and tiff_tag(content, EXTRA_SAMPLES) is None:
        return True
    if deep and (reading.window.text != DECLARED or (tiff_tag(content, LARGEST_VALUE) or 65535) < 65535):
        return True
    return (samples > 4 and not colours) or has_other_numbers(content)


def has_other_numbers(content: bytes) -> bool:
    """Whether Pillow reads the directory, but has no mode for its numbers: floats of 16 bits, say."""
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(content))
    except SyntaxError as error:
        return "unknown pixel mode" in str(error)
    # On hostile bytes Pillow may raise anything; what to say of them is known where they are decoded.
    except Exception:
        return False
    return False


def read_tiff(
    timed: Timed, content: bytes, reading: Reading, frame: int, max_pixels: int, admit: Callable[[int], None]
) -> Samples:
    """The bands of a page; where pages have one band each, and there are as many as the network takes, of all pages.

    admit: called with the bytes of its numbers before they are decoded. Raises InputError, and whatever tifffile raises on
    damaged bytes.
    """
    tifffile = require("tifffile", "tiff")
    with tifffile.TiffFile(timed) as file:
        pages = file.pages
        count = len(pages)
        first = pages.first
        stack = count == reading.channels and count > 1 and first.samplesperpixel == 1
        if not stack and not 0 <= frame < count:
            raise InputError(f"{count} page{'s' if count != 1 else ''}, and none with the number {frame}", expected="--frame 0")
        taken = [pages[at] for at in range(count)] if stack else [pages[frame]]
        refuse_large(taken, max_pixels, len(content))
        admit(sum(page.nbytes for page in taken))
        arrays = [unpacked(page, content, timed) for page in taken]
    if stack and len({array.shape for array in arrays}) > 1:
        raise InputError("pages of several sizes, which cannot be bands of one photo", expected="pages of one size")
    parts = [bands_first(page, array) for page, array in zip(taken, arrays, strict=True)]
    made = of_bands(np.concatenate(parts) if len(parts) > 1 else parts[0])
    page = taken[0]
    notes: tuple[str, ...] = (f"{count} pages: page {frame} used",) if count > 1 and not stack else ()
    transparent = reading.channels in (1, 3) and len(made.values) == 4 and first_of(page, EXTRA_SAMPLES) in ALPHA
    notes += ("transparency left out",) if transparent else ()
    values = turned(made.values[:3] if transparent else made.values, first_of(page, ORIENTATION))
    inverted = first_of(page, PHOTOMETRIC) == WHITE_IS_ZERO
    return Samples(values, declared(page) or made.declared, made.widest, inverted, 1 if stack else count, notes)


def refuse_large(pages: list[Any], max_pixels: int, file: int) -> None:
    """Raise InputError before room is made for what headers ask for, beside a file of so many bytes."""
    for page in pages:
        if page.ndim < 2 or page.imagedepth != 1 or page.imagewidth < 1 or page.imagelength < 1:
            raise InputError(f"a page of shape {page.shape}", expected="(height, width), with bands")
        if page.imagewidth * page.imagelength > max_pixels:
            raise InputError(f"{page.imagewidth} x {page.imagelength} pixels", expected=f"at most {max_pixels:,} pixels in all")
    # Pages of one band each are laid behind one another, which takes them twice.
    numbers = sum(page.nbytes for page in pages) * (2 if len(pages) > 1 else 1)
    refuse_heavy_numbers(pages[0].imagewidth * pages[0].imagelength, numbers, file)


def bands_first(page: Any, array: Any) -> Any:
    """A page's array as (bands, height, width), by what the page says of its axes."""
    axes = page.axes
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3 or "S" not in axes:
        raise InputError(f"a page of shape {array.shape} (axes {axes})", expected="(height, width), with bands")
    return np.moveaxis(array, axes.index("S"), 0)


def declared(page: Any) -> Range | None:
    """The values that are black and white as the page says; None where it does not."""
    return ends_in(lambda tag: value_of(page, tag))


def value_of(page: Any, tag: int) -> object:
    """A tag's value; None where it is absent or cannot be read."""
    try:
        return page.tags[tag].value
    except (KeyError, TypeError, ValueError):
        return None


def first_of(page: Any, tag: int) -> object:
    """A tag's value, or the first of several."""
    value = value_of(page, tag)
    return value[0] if isinstance(value, tuple) and value else value
