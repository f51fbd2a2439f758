"""What a file says about its samples: how many bits are used, how many bands there are."""

from __future__ import annotations

import numpy as np
from PIL import Image

from xaicli.images.decode_limits import significant_bits
from xaicli.images.samples import LEFT_OUT, VALUES_FROM, bits_unused
from xaicli.images.tiff_directory import tiff_tag

TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLES, TIFF_MOST = 258, 262, 277, 281
"""Tags: bits a sample, what is white, samples a pixel, the largest value there may be."""
PNG_BITS = 24
"""Where in a PNG the bits of a sample stand."""


def largest_value(content: bytes, image: Image.Image) -> int | None:
    """The value of white in 16 bits according to the file (PNG: sBIT, TIFF: MaxSampleValue); None if all bits are used.

    PNG demands samples scaled up to 16 bits, but some scanners write them unscaled: such files have low bits that no scaled
    sample has.
    """
    if not image.mode.startswith("I"):
        return None
    if (most := tiff_tag(content, TIFF_MOST)) is not None:
        return most if 255 < most < 65535 else None
    bits = significant_bits(content)
    if bits is None or not 8 < bits < 16:
        return None
    values = np.asarray(image)
    unscaled = int(values.max()) < 2**bits and bool((values & (2 ** (16 - bits) - 1)).any())
    return 2**bits - 1 if unscaled else None


def bands_left_out(content: bytes, image: Image.Image) -> tuple[str, ...]:
    """A note if a TIFF has more bands than colours and transparency."""
    samples = tiff_tag(content, TIFF_SAMPLES) or 0
    shown = len(image.getbands())
    if samples <= max(shown, 1) or image.mode not in ("RGB", "L", "RGBA"):
        return ()
    return (f"{samples - shown} of {samples} {LEFT_OUT}: the first {shown} are taken",)


def bits_left_out(content: bytes, image: Image.Image, white: int | None) -> tuple[str, ...]:
    """A note if a PNG or TIFF has samples of 16 bits, which become 8; white: as in `largest_value`."""
    png = content.startswith(b"\x89PNG")
    bits = content[PNG_BITS] if png else tiff_tag(content, TIFF_BITS)
    taken = image.mode in ("RGB", "RGBA") or image.mode.startswith("I;16") or (png and image.mode == "I")
    if bits != 16 or not taken:
        return ()
    ends = (0, white or 65535)
    low, high = reversed(ends) if tiff_tag(content, TIFF_PHOTOMETRIC) == 0 else ends
    said = f"{VALUES_FROM} {low} (black) to {high} (white), as 8 bits; --window 0:{white or 65535} keeps all bits"
    return (said, *(bits_unused(brightest(image)) if white is None else ()))


def brightest(image: Image.Image) -> int:
    """The largest value of 16 bits that there may be in a picture, of whose colours Pillow gives the upper eight bits."""
    largest = int(np.asarray(image).max())
    return 256 * largest + 255 if image.mode in ("RGB", "RGBA") else largest
