"""From a file, array or tensor to an upright 8-bit RGB photo, within limits on size and time."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from xaicli.errors import InputError, XaiError
from xaicli.images.containers import container_of
from xaicli.images.damage import undecodable, unidentified
from xaicli.images.decode_limits import SECONDS, SKIP, OutOfTime, Timed, refuse_slow, took_too_long
from xaicli.images.elsewhere import Elsewhere
from xaicli.images.encoding import bands_left_out, bits_left_out, largest_value
from xaicli.images.footprint import footprint, refuse_heavy
from xaicli.images.in_one_go import try_picture
from xaicli.images.large_photo import LargePhoto, is_large
from xaicli.images.photo_numbers import Pixels, pixels_in, pixels_of, pixels_of_array, samples_of_picture
from xaicli.images.pixels import EXIF_ORIENTATION, orientation_of, to_rgb, upright
from xaicli.images.reduced_photo import ReducedPhoto, draft, reduced_photo
from xaicli.images.samples import Reading, Samples, turned, window_unused
from xaicli.images.scaled_bands import ScaledBands
from xaicli.images.source import LARGEST_FILE, Source, as_array, memory_hash

Colour = tuple[int, int, int]

PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    AvifImagePlugin.AvifImageFile,
    PpmImagePlugin.PpmImageFile,
)
"""The decoders that untrusted bytes may reach. Importing registers them, once, before any thread opens a photo. The JPEG decoder
also opens a JPEG of several pictures (MPO)."""

FORMATS = tuple(plugin.format for plugin in PLUGINS)
WHITE: Colour = (255, 255, 255)
LARGEST_PHOTO = 178_956_970
"""Maximum pixels: Pillow's own limit, so that a small file cannot fill the memory."""

JPEG = b"\xff\xd8"
NO_JPEG = "decoded whole: no JPEG, which alone --fast-decode decodes smaller"

FRAMES = "xai explain --frames N reads N of its frames as a sequence; --keep-going skips it."

Admit = Callable[[int], None]


def at_once(size: int) -> None:
    """Nobody counts the memory."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    image: PIL, RGB, upright; content: SHA-256 of the file's bytes in hex, or of the array's; frame: which of `frames` it is;
    notes: in words, changes to it that a user may not expect; name: its path as given; bands: the numbers (C, H, W) in 0..1
    of a photo of more than 8 bits or other than three bands, of which the image is a picture; whole: a photo that is too large
    to be held as RGB, or was decoded smaller, of which the image is a smaller picture; size: width and height of the photo
    itself.
    """

    image: Image.Image
    content: str
    frame: int = 0
    frames: int = 1
    notes: tuple[str, ...] = ()
    name: str = "photo"
    bands: ScaledBands | None = None
    whole: LargePhoto | ReducedPhoto | None = None
    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.size == (0, 0):
            object.__setattr__(self, "size", self.pixels.size)

    def bare(self) -> Photo:
        """What is known of the photo, without its pixels."""
        return dataclasses.replace(self, image=Image.new("RGB", (1, 1)), bands=None, whole=None)

    @property
    def pixels(self) -> Image.Image | LargePhoto | ReducedPhoto:
        """All pixels of the photo, for its view."""
        return self.image if self.whole is None else self.whole


def decode(
    photo: Any,
    frame: int = 0,
    background: Colour = WHITE,
    *,
    reading: Reading = Reading(),
    max_pixels: int = LARGEST_PHOTO,
    max_bytes: int = LARGEST_FILE,
    seconds: float = SECONDS,
    admit: Admit = at_once,
) -> Photo:
    """Decode a `Source`, a path, a PIL image, a NumPy array (H, W), (H, W, C) or (C, H, W), or a tensor (C, H, W).

    reading: what the network takes, and which values are black and white. Arrays are uint8, uint16, bool, or floats in 0..1, and
    others with a window. EXIF orientation is applied; transparency is laid on `background`; CMYK
    goes to sRGB through its own profile. RGB profiles are left alone, as in the pipelines that networks were trained with. Raises
    InputError, in words, whatever the bytes are, and where decoding takes longer than `seconds`. admit: called before the pixels
    of a file are decoded, with the bytes of memory that they take at most; it may wait, which does not count. Safe in threads.
    """
    source = Source.of(photo, frame)
    try:
        if isinstance(source.memory, Elsewhere):
            # Nothing but the decoder holds the bytes: it lets go of those of a large photo.
            return decode_bytes(
                source.memory.read(source.path, max_bytes), source.path, frame, background, max_pixels, seconds, admit, reading
            )
        if source.file is None:
            return decode_memory(source, frame, background, max_pixels, reading)
        return decode_bytes(
            read(source.file, source.path, max_bytes), source.path, frame, background, max_pixels, seconds, admit, reading
        )
    except MemoryError as error:
        raise InputError(f"{source.path} needs more memory than this machine has", hint=SKIP) from error


def read(file: Path, name: str, max_bytes: int) -> bytes:
    """The bytes of a photo's file; raises InputError if it is not a file, is empty, or is larger than `max_bytes`."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{name} is no file", expected="a photo", hint=SKIP)
            content = stream.read(max_bytes + 1) if status.st_size <= max_bytes else b""
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist", expected="a photo") from error
    except IsADirectoryError as error:
        raise InputError(f"{name} is a folder", expected="a photo") from error
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"{name} cannot be read: {reason}", hint=SKIP) from error
    if max(status.st_size, len(content)) > max_bytes:
        found = f"{name} is a file of {status.st_size / 2**20:,.0f} MiB"
        raise InputError(found, expected=f"at most {max_bytes / 2**20:,.0f} MiB", hint=SKIP)
    if not content:
        raise InputError(f"{name} is not a readable photo: it is empty (0 bytes)", hint=SKIP)
    return content


def decode_bytes(
    content: bytes,
    name: str,
    frame: int,
    background: Colour,
    max_pixels: int,
    seconds: float = SECONDS,
    admit: Admit = at_once,
    reading: Reading = Reading(),
) -> Photo:
    refuse_slow(content, name)
    notes = () if reading.resized is None or content.startswith(JPEG) else (NO_JPEG,)
    try:
        timed = Timed(content, seconds)
        numbers = pixels_in(timed, content, name, frame, background, reading, max_pixels, admit)
        if numbers is not None:
            return photo_of(numbers, hashlib.sha256(content).hexdigest(), frame, name, notes=notes)
        with Image.open(timed, formats=FORMATS) as image:
            check_size(image, name, max_pixels)
            refuse_heavy(image, content, name)
            timed.pause(lambda: admit(footprint(image, content)))
            try_picture(image, content, frame, timed)
            frames, said_of_frames = select(image, name, frame, timed)
            notes = (*notes, *said_of_frames)
            check_size(image, name, max_pixels)
            size = image.size
            if reading.resized is not None:
                draft(image, reading.resized)
            image.load()
            timed.check()
            white = largest_value(content, image)
            if (samples := samples_of_picture(image, reading, white)) is not None:
                pixels = pixels_of(upright_samples(samples, image), reading)
                return photo_of(pixels, hashlib.sha256(content).hexdigest(), frame, name, frames, notes)
            if is_large(image):
                digest, (orientation, unread) = hashlib.sha256(content).hexdigest(), orientation_of(image)
                content = timed.released()
                return large_photo(image, digest, frame, frames, (notes, unread), orientation, background, name)
            rgb, said = to_rgb(image, background, white)
            rgb, unread = upright(rgb, image)
            whole = None if image.size == size else reduced_photo(rgb, size, orientation_of(image)[0])
            notes = notes if whole is None else (*notes, whole.note)
            left_out = (*bands_left_out(content, image), *bits_left_out(content, image, white), *window_unused(reading.window))
            notes = (*notes, *left_out, *said, *unread)
            return Photo(rgb, hashlib.sha256(content).hexdigest(), frame, frames, notes, name, whole=whole)
    except MemoryError:
        raise
    except XaiError as error:
        raise error.about(name) from error.__cause__
    except OutOfTime as error:
        raise took_too_long(name, seconds) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to open safely", expected=f"at most {max_pixels:,} pixels", hint=SKIP) from error
    except UnidentifiedImageError as error:
        hint = FRAMES if container_of(content) else SKIP
        raise InputError(f"{name} is not a readable photo: {unidentified(content)}", hint=hint) from error
    # On hostile bytes a decoder may raise anything; each exception means that this photo cannot be used.
    except Exception as error:
        raise InputError(f"{name} is not a readable photo: {undecodable(content, error)}", hint=SKIP) from error


def photo_of(
    pixels: Pixels, content: str, frame: int, name: str, frames: int | None = None, notes: tuple[str, ...] = ()
) -> Photo:
    """A photo of what was decoded."""
    return Photo(pixels.image, content, frame, frames or pixels.frames, (*notes, *pixels.notes), name, pixels.bands)


def upright_samples(samples: Samples, image: Image.Image) -> Samples:
    """Samples turned as the EXIF block of the image says, where it can be read."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    # As in `upright`: a block that cannot be read is left aside.
    except Exception:
        return samples
    return dataclasses.replace(samples, values=turned(samples.values, orientation))


def large_photo(
    image: Image.Image,
    content: str,
    frame: int,
    frames: int,
    notes: tuple[tuple[str, ...], tuple[str, ...]],
    orientation: int,
    background: Colour,
    name: str,
) -> Photo:
    """A photo that is taken part by part. notes: before and after what is to be told of its pixels."""
    whole = LargePhoto(image, orientation, background)
    drawn = whole.reduced()
    smaller = f"{image.width * image.height:,} pixels are many: its overlay is {whole.factor} times smaller"
    return Photo(drawn, content, frame, frames, (*notes[0], *whole.notes, *notes[1], smaller), name, whole=whole)


def check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Refuse a photo that is too large before a pixel is decoded: a header of a few bytes can ask for all memory."""
    if image.width < 1 or image.height < 1:
        raise InputError(f"{name} is not a readable photo: it has {image.width} x {image.height} pixels", hint=SKIP)
    if image.width * image.height > max_pixels:
        found = f"{name} has {image.width} x {image.height} pixels"
        raise InputError(found, expected=f"at most {max_pixels:,} pixels in all", hint=SKIP)


def select(image: Image.Image, name: str, frame: int, timed: Timed) -> tuple[int, tuple[str, ...]]:
    """Go to a frame or page; returns how many there are, and a note if there are several."""
    frames = int(getattr(image, "n_frames", 1))
    if not 0 <= frame < frames:
        many = f"{frames} frames" if frames > 1 else "1 frame"
        last = f"0 to {frames - 1}" if frames > 1 else "0"
        raise InputError(f"{name} has {many}, but no frame {frame}", expected=f"--frame {last}", hint=SKIP)
    # One after the other: some formats decode all frames on the way, and the time may be up before the last.
    for number in range(image.tell() + 1, frame + 1):
        timed.check()
        image.seek(number)
    # A JPEG of several pictures (MPO) holds one photo, plus previews or a depth map.
    if frames == 1 or image.format == "MPO":
        return frames, ()
    what = f"{frames} pages: page" if image.format == "TIFF" else f"animated, {frames} frames: frame"
    return frames, (f"{what} {frame} used",)


def decode_memory(source: Source, frame: int, background: Colour, max_pixels: int, reading: Reading) -> Photo:
    """A PIL image, array or tensor that a Python user hands in; it is not changed."""
    name = source.path
    if frame:
        raise InputError(f"frame {frame} of {name}, which is in memory", expected="frame 0", hint="Pass its path instead.")
    if not isinstance(source.memory, Image.Image):
        array = as_array(source.memory)
        if array.size > 4 * max_pixels:
            raise InputError(f"{name} is an array of shape {array.shape}", expected=f"at most {max_pixels:,} pixels")
        try:
            pixels = pixels_of_array(array, reading, channels_first=hasattr(source.memory, "detach"))
        except XaiError as error:
            raise error.about(name) from error.__cause__
        return photo_of(pixels, memory_hash(source.memory), 0, name)
    try:
        check_size(source.memory, name, max_pixels)
        image = source.memory.copy()
        if (samples := samples_of_picture(image, reading)) is not None:
            return photo_of(pixels_of(upright_samples(samples, image), reading), memory_hash(source.memory), 0, name)
        rgb, said = to_rgb(image, background)
        rgb, unread = upright(rgb, image)
        return Photo(rgb, memory_hash(source.memory), 0, 1, (*said, *unread, *window_unused(reading.window)), name)
    except (XaiError, MemoryError):
        raise
    # PIL reads a file lazily, so the user's own file may fail here in any way.
    except Exception as error:
        raise InputError(f"{name} is a PIL image that cannot be read: {error}", hint="Pass its path instead.") from error
