"""The frames of a moving picture (GIF, WebP, APNG, AVIF) or of a TIFF of several pages, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from xaicli.errors import InputError, XaiError
from xaicli.images.damage import undecodable, unidentified
from xaicli.images.decode import FORMATS, LARGEST_PHOTO, Admit, Colour, Photo, check_size
from xaicli.images.decode_limits import SKIP, OutOfTime, Timed, refuse_slow, took_too_long
from xaicli.images.encoding import largest_value
from xaicli.images.footprint import footprint
from xaicli.images.pixels import to_rgb, upright


def moving_frames(
    content: bytes, name: str, wanted: range, background: Colour, seconds: float, admit: Admit
) -> tuple[int, Iterator[Photo]]:
    """How many frames there are, and those that are wanted; raises InputError, in words, whatever the bytes are."""
    refuse_slow(content, name)
    timed = Timed(content, seconds)
    with in_words(content, name, seconds):
        image = Image.open(timed, formats=FORMATS)
        check_size(image, name, LARGEST_PHOTO)
        total = int(getattr(image, "n_frames", 1))
        timed.pause(lambda: admit(footprint(image, content)))
    return total, each_frame(image, timed, content, name, wanted, background, seconds)


def each_frame(
    image: Image.Image, timed: Timed, content: bytes, name: str, wanted: range, background: Colour, seconds: float
) -> Iterator[Photo]:
    """The frames that are wanted, upright and RGB."""
    with in_words(content, name, seconds), image:
        for frame in wanted:
            # One after the other: some formats decode all frames on the way, and the time may be up before the last.
            for number in range(image.tell() + 1, frame + 1):
                timed.check()
                image.seek(number)
            check_size(image, name, LARGEST_PHOTO)
            image.load()
            timed.check()
            rgb, said = to_rgb(image, background, largest_value(content, image))
            rgb, unread = upright(rgb, image)
            yield Photo(rgb, "", frame, notes=(*said, *unread), name=name)


@contextmanager
def in_words(content: bytes, name: str, seconds: float) -> Iterator[None]:
    """Whatever a decoder raises, as an InputError that names the file."""
    try:
        yield
    except (MemoryError, GeneratorExit):
        raise
    except XaiError as error:
        raise error.about(name) from error.__cause__
    except OutOfTime as error:
        raise took_too_long(name, seconds) from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{name} is too large to open safely", expected=f"at most {LARGEST_PHOTO:,} pixels", hint=SKIP
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a readable sequence: {unidentified(content)}", hint=SKIP) from error
    # On hostile bytes a decoder may raise anything; each exception means that this sequence cannot be used.
    except Exception as error:
        raise InputError(f"{name} is not a readable sequence: {undecodable(content, error)}", hint=SKIP) from error
