"""PNG files of 16-bit colours, of which Pillow gives the upper eight bits; where the lower ones count, it gives them too."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import numpy as np
from PIL import PngImagePlugin

from xaicli.errors import InputError
from xaicli.images.decode_limits import Timed, significant_bits
from xaicli.images.footprint import refuse_heavy_numbers
from xaicli.images.samples import Numbers, Reading, Samples, of_bands
from xaicli.images.window import DECLARED

MAGIC = b"\x89PNG\r\n\x1a\n"
MODES = {2: "RGB", 6: "RGBA"}
"""What Pillow makes of the colour types: colours, and colours with transparency."""

HEADER = 33


def wants_all_bits(content: bytes, reading: Reading) -> bool:
    """Whether a file is a PNG of 16-bit colours whose lower bits count: under a window, or where its samples are small."""
    if not content.startswith(MAGIC) or len(content) < HEADER or content[24] != 16 or content[25] not in MODES:
        return False
    if reading.channels not in (1, 3):
        return len(MODES[content[25]]) == reading.channels
    return reading.window.text != DECLARED or 8 < (significant_bits(content) or 16) < 16


def read_deep_png(timed: Timed, content: bytes, max_pixels: int, admit: Callable[[int], None], channels: int) -> Samples:
    """All bits of such a file.

    Where it says that fewer than 16 bits are significant, and its samples are not scaled up as PNG asks, the largest of so many
    bits is white. admit: called with the bytes of its numbers before they are decoded. Raises InputError, and whatever Pillow
    raises on damaged bytes.
    """
    width, height = struct.unpack_from(">II", content, 16)
    mode = MODES[content[25]]
    size = 2 * width * height * len(mode)
    if width * height > max_pixels:
        raise InputError(f"{width} x {height} pixels", expected=f"at most {max_pixels:,} pixels in all")
    # Upper bytes are the numbers already while the lower ones are read, of which Pillow has a picture of its own.
    refuse_heavy_numbers(width * height, size + size // 2 + width * height, len(content))
    admit(size)
    # PNG is big-endian: read as little-endian, the upper byte is the lower one.
    values = bytes_of(timed, f"{mode};16B").astype(np.uint16)
    values <<= 8
    values |= bytes_of(timed, f"{mode};16L")
    values = values.transpose(2, 0, 1)
    transparent = len(mode) == 4 and channels != 4
    made = of_bands(values[:3] if transparent else values)
    bits = significant_bits(content) or 16
    unscaled = 8 < bits < 16 and int(made.values.max()) < 2**bits
    notes = ("transparency left out",) if transparent else ()
    return dataclasses.replace(made, declared=(0.0, 2.0**bits - 1) if unscaled else made.declared, notes=notes)


def bytes_of(timed: Timed, raw_mode: str) -> Numbers:
    """One byte of each sample, (H, W, C), as Pillow takes it from samples of that raw mode."""
    timed.seek(0)
    with PngImagePlugin.PngImageFile(timed) as image:
        image.tile = [image.tile[0]._replace(args=raw_mode)]
        return np.array(image)
