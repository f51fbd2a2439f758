"""The frames of a video, by PyAV, within limits on size and time."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from PIL import Image

from xaicli.errors import InputError, XaiError
from xaicli.images.containers import container_of
from xaicli.images.decode import LARGEST_PHOTO, Photo
from xaicli.images.decode_limits import SKIP, OutOfTime, Timed, took_too_long
from xaicli.packages import require

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".flv", ".wmv", ".3gp"})


def video_frames(content: bytes, name: str, wanted: range, seconds: float, *, pictures: bool = True) -> Iterator[Photo]:
    """The frames that are wanted, as far as there are any, RGB; without `pictures` one pixel in the place of each.

    Raises InputError if PyAV is missing, the file holds no video, a frame is damaged, or time or pixels are too many.
    """
    av = pyav(name)
    timed = Timed(content, seconds)
    try:
        with av.open(timed, options={"format_whitelist": container_of(content), "protocol_whitelist": "none"}) as container:
            if not container.streams.video:
                raise InputError(f"{name} holds no video stream", expected="a video with frames", hint=SKIP)
            stream = container.streams.video[0]
            check_pixels(stream.codec_context, name)
            for number, frame in enumerate(container.decode(stream)):
                timed.check()
                if frame.is_corrupt:
                    raise InputError(f"frame {number} of {name} is damaged", hint=SKIP)
                if number in wanted:
                    check_pixels(frame, name)
                    yield Photo(frame.to_image() if pictures else Image.new("RGB", (1, 1)), "", number, name=name)
                if number >= wanted[-1]:
                    return
    except (MemoryError, GeneratorExit, XaiError):
        raise
    except OutOfTime as error:
        raise took_too_long(name, seconds) from error
    # On hostile bytes a decoder may raise anything; each exception means that this video cannot be used.
    except Exception as error:
        said = str(error).rpartition("] ")[2].partition(":")[0].strip() or type(error).__name__
        raise InputError(f"{name} is not a readable video: its data is damaged or cut short ({said})", hint=SKIP) from error


def pyav(name: str) -> ModuleType:
    """PyAV; raises InputError that names the extra if it is missing."""
    try:
        return require("av", "video")
    except InputError as error:
        raise InputError(f"{name} is a video, and {error.found}", hint=error.hint) from error


def check_pixels(sized: Any, name: str) -> None:
    """Raise InputError for a picture that is too large."""
    if sized.width * sized.height > LARGEST_PHOTO:
        found = f"{name} has frames of {sized.width} x {sized.height} pixels"
        raise InputError(found, expected=f"at most {LARGEST_PHOTO:,} pixels", hint=SKIP)
