"""Conversion of every kind of pixel to 8-bit RGB: grey, palette, alpha, CMYK, 16 and 32 bits, floats."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

AT_A_TIME = 1 << 22
"""Pixels of a picture of wide numbers that are taken at a time."""

Colour = tuple[int, int, int]
Notes = tuple[str, ...]

EXIF_ORIENTATION = 0x0112
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT = 258, 262, 339
UNSIGNED = 1
TIFF_ENDS = ((340, 341), (280, 281))
"""Tags of the smallest and the largest value there may be: of signed numbers and floats, and of others."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes a photo upright, by the orientation in its EXIF block (EXIF 2.3, tag 274)."""
FROM_THE_RIGHT, FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations whose upright photo begins, on its left and on its top, with the end of a row or column of its file."""
SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which the rows of the file are columns of the photo."""


def to_rgb(image: Image.Image, background: Colour, white: int | None = None) -> tuple[Image.Image, Notes]:
    """A loaded image of any mode as RGB, itself where it is that already and its file holds no further picture, and what to tell
    of it; white: the largest value of 16 bits that are not all used."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return (image if getattr(image, "n_frames", 1) == 1 else image.copy()), ()
    if image.mode.startswith("I;16"):
        return sixteen_bits(image, white)
    if image.mode == "I":
        return thirty_two_bits(image, white)
    if image.mode == "F":
        return floats(image)
    if image.mode == "CMYK":
        return cmyk(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return converted(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")), ()
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return on_background(image, background)
    return image.convert("RGB"), ()


def upright(rgb: Image.Image, image: Image.Image) -> tuple[Image.Image, Notes]:
    """`rgb` turned as the EXIF block of `image` says; a block that cannot be read is ignored, with a note."""
    orientation, unread = orientation_of(image)
    turn = TURNS.get(orientation)
    return (rgb if turn is None else rgb.transpose(turn)), unread


def orientation_of(image: Image.Image) -> tuple[int, Notes]:
    """The orientation in the EXIF block, 1 for upright; a block that cannot be read is ignored, with a note."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    # On hostile bytes the EXIF reader may raise anything; the photo is usable without the block.
    except Exception:
        return 1, ("its EXIF block cannot be read: taken as upright",)
    return (orientation if isinstance(orientation, int) else 1), ()


def on_background(image: Image.Image, background: Colour) -> tuple[Image.Image, Notes]:
    """The photo with its transparent parts laid on a colour."""
    if image.mode in ("La", "PA"):
        image = image.convert({"La": "LA", "PA": "RGBA"}[image.mode])
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB"), ()
    below = Image.new("RGBA", rgba.size, (*background, 255))
    colour = ",".join(map(str, background))
    return Image.alpha_composite(below, rgba).convert("RGB"), (f"transparent parts laid on {colour}",)


def sixteen_bits(image: Image.Image, white: int | None = None) -> tuple[Image.Image, Notes]:
    """Grey of 16 bits (or 12 in a TIFF), scaled so that 65535 (4095), or the file's own value, is white."""
    tags = getattr(image, "tag_v2", {})
    bits = first(tags.get(TIFF_BITS), 16)
    largest = white or 2 ** (bits if 8 < bits <= 16 else 16) - 1
    inverted = tags.get(TIFF_PHOTOMETRIC) == 0

    def grey_of(values: np.ndarray) -> np.ndarray:
        grey = (np.minimum(values.astype(np.uint32), largest) * 255 + largest // 2) // largest
        return 255 - grey if inverted else grey

    return row_by_row(image, grey_of), scale_notes(white)


def row_by_row(image: Image.Image, grey_of: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """RGB of a picture of wide numbers, some rows at a time: beside the picture nothing of its size is held but the result."""
    whole = Image.new("RGB", image.size)
    rows = max(1, AT_A_TIME // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(Image.fromarray(grey_of(np.asarray(band)).astype(np.uint8)).convert("RGB"), (0, top))
    return whole


def scale_notes(white: int | None) -> Notes:
    return () if white is None else (f"its file says that {white} is white",)


def thirty_two_bits(image: Image.Image, white: int | None = None) -> tuple[Image.Image, Notes]:
    """32-bit integers, and signed ones of 16. In a PGM or PNG, 65535 is white, as their readers scale them; other files whose
    white is not stated are stretched."""
    if image.format in ("PPM", "PNG"):
        largest = white or 65535
        return row_by_row(
            image, lambda values: np.clip((values.astype(np.int64) * 255 + largest // 2) // largest, 0, 255)
        ), scale_notes(white)
    return stretched(numbers_of(image).astype(np.float64), "32-bit values", stated_ends(image))


def numbers_of(image: Image.Image) -> np.ndarray:
    """The pixels of a grey picture (H, W). Pillow reads all whole numbers of 32 bits as signed; those of a TIFF have no sign,
    unless it says so."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    wide = image.mode == "I" and first(tags.get(TIFF_BITS), 16) == 32
    return values.view(np.uint32) if wide and first(tags.get(TIFF_SAMPLE_FORMAT), UNSIGNED) == UNSIGNED else values


def floats(image: Image.Image) -> tuple[Image.Image, Notes]:
    """Floats: from black to white as the file states, else unchanged if all lie in 0..1, else stretched."""
    values, ends = np.asarray(image), stated_ends(image)
    if not np.isfinite(values).all():
        raise ValueError("its pixels are not all finite numbers")
    if ends is None and values.min() >= 0 and values.max() <= 1:
        return Image.fromarray(eight_bits(values)).convert("RGB"), ()
    return stretched(values.astype(np.float64), "float values", ends)


def stated_ends(image: Image.Image) -> tuple[float, float] | None:
    """The values that are black and white as a TIFF states; None where it does not."""
    return ends_in(getattr(image, "tag_v2", {}).get)


def ends_in(value_of: Callable[[int], object]) -> tuple[float, float] | None:
    """The values that are black and white by a TIFF's tags, of which several numbers may be one for each band; black is 0 where
    only white is stated."""
    for smallest, largest in TIFF_ENDS:
        low, high = (value[0] if isinstance(value := value_of(tag), tuple) and value else value for tag in (smallest, largest))
        bottom = float(low) if isinstance(low, int | float) else 0.0
        if isinstance(high, int | float) and high > bottom and math.isfinite(high - bottom):
            return bottom, float(high)
    return None


def stretched(values: np.ndarray, what: str, ends: tuple[float, float] | None = None) -> tuple[Image.Image, Notes]:
    """Stretch values between two ends, by default the smallest, which is black, and the largest; a constant picture is
    mid-grey."""
    low, high = ends or (float(values.min()), float(values.max()))
    scaled = ((values - low) / (high - low)).clip(0, 1) if high > low else np.full(values.shape, 0.5)
    return Image.fromarray(eight_bits(scaled)).convert("RGB"), (f"{what} from {low:g} (black) to {high:g} (white)",)


def eight_bits(values: np.ndarray) -> np.ndarray:
    """0..1 to 0..255, rounded."""
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)


def cmyk(image: Image.Image) -> tuple[Image.Image, Notes]:
    """CMYK to sRGB through its embedded profile, or by the plain formula if it has no usable profile."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB"), ("CMYK without a colour profile: colours are approximate",)
    try:
        through = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return converted(through), ()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), ("its CMYK profile cannot be used: colours are approximate",)


def converted(image: Image.Image | None) -> Image.Image:
    """The result of a profile conversion, which is None only for a conversion in place."""
    if image is None:
        raise ValueError("its colour profile gives no picture")
    return image


def first(value: object, default: int) -> int:
    """A TIFF tag as one number; some tags hold one number per colour."""
    if isinstance(value, tuple):
        value = value[0] if value else default
    return value if isinstance(value, int) else default
