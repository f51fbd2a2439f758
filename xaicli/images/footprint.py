"""How much memory a photo takes while it is decoded, told by its header."""

from __future__ import annotations

import contextlib

from PIL import Image

from xaicli.errors import InputError
from xaicli.images.large_photo import LARGEST_DRAWN, is_large
from xaicli.images.pixels import EXIF_ORIENTATION

SMALL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
BYTES_A_PIXEL = 4
"""Of pixels in Pillow's memory, RGB too; those of `SMALL` modes take less."""

INSIDE = {"WEBP": 8, "AVIF": 11}
"""Bytes a pixel that a decoder takes for itself, beside the picture that it gives."""
LARGEST = 850 << 20
"""The most bytes that a photo may take: with what the command itself takes (670 MiB with the CUDA build of torch, 311 of them
pages of its libraries) a run stays below 1.5 GiB. A plain JPEG of any size that is read takes less, if its file has at most 134
MiB."""
PICTURE = 3
"""Bytes a pixel of the picture of a photo of numbers."""
COEFFICIENTS = 6
"""Likewise of a progressive JPEG, whose coefficients are kept from scan to scan."""


def footprint(image: Image.Image, content: bytes) -> int:
    """The most bytes that a photo takes until it is RGB and upright, its file's included."""
    size = image.width * image.height
    inside = INSIDE.get(image.format or "", COEFFICIENTS if "progressive" in image.info else 0)
    native = SMALL.get(image.mode, BYTES_A_PIXEL)
    if is_large(image):
        # Its bytes are gone before its overlay is made.
        return size * native + max(len(content) + size * inside, BYTES_A_PIXEL * LARGEST_DRAWN)
    copies = BYTES_A_PIXEL if image.mode != "RGB" or is_turned(image) or getattr(image, "n_frames", 1) > 1 else 0
    return len(content) + size * (native + max(inside, copies))


def refuse_heavy(image: Image.Image, content: bytes, name: str) -> None:
    """Raise InputError for a photo that takes too much memory to decode, before it is decoded."""
    needed = footprint(image, content)
    if needed > LARGEST:
        kind = f"{'progressive ' if 'progressive' in image.info else ''}{image.format} of {image.width} x {image.height} pixels"
        raise InputError(
            f"{name}, a {kind}, takes {needed / 2**20:,.0f} MiB of memory to decode",
            expected=f"at most {LARGEST >> 20} MiB",
            hint="Save it smaller, or as a plain JPEG; or skip such photos with --keep-going.",
        )


def refuse_heavy_numbers(pixels: int, numbers: int, file: int) -> None:
    """Raise InputError, before they are decoded, for a photo of `pixels` whose numbers take too much memory beside its picture
    and its file. numbers, file: in bytes, with what their decoder takes."""
    needed = numbers + file + PICTURE * pixels
    if needed > LARGEST:
        raise InputError(
            f"a photo of {pixels:,} pixels that takes {needed / 2**20:,.0f} MiB of memory to decode",
            expected=f"at most {LARGEST >> 20} MiB",
            hint="Save it smaller, or with fewer bands or bits; or skip such photos with --keep-going.",
        )


def is_turned(image: Image.Image) -> bool:
    """Whether a JPEG's EXIF block asks for a turn; of others it may stand behind the pixels."""
    if image.format not in ("JPEG", "MPO"):
        return False
    # A block that cannot be read is left aside, as in `pixels.upright`, which says so.
    with contextlib.suppress(Exception):
        return image.getexif().get(EXIF_ORIENTATION, 1) != 1
    return False
