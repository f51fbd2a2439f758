"""What a file says of its samples: how many bits are used, how many bands there are."""

from __future__ import annotations

import numpy as np
from PIL import Image

from xaicli.images.decode_limits import significant_bits, tiff_tag

TIFF_SAMPLES, TIFF_MOST = 277, 281
"""Tags: samples a pixel, the largest value there may be."""


def largest_value(content: bytes, image: Image.Image) -> int | None:
    """The value that is white in 16 bits, as the file says (PNG: sBIT, TIFF: MaxSampleValue); None where all bits are used.

    PNG asks for samples that are scaled up, and scanners write them as they are: those are known by low
    bits that no scaled sample has.
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
    """A note where a TIFF has more bands than colours and transparency."""
    samples = tiff_tag(content, TIFF_SAMPLES) or 0
    shown = len(image.getbands())
    if samples <= max(shown, 1) or image.mode not in ("RGB", "L", "RGBA"):
        return ()
    return (f"{samples - shown} of {samples} bands left out: the first {shown} are taken",)
