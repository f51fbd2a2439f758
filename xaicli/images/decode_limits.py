"""Photos that would take long to decode are refused, by what their bytes say or when their time is up."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable

from xaicli.errors import InputError
from xaicli.images.tiff_directory import MOST_PAGES, pages_of
from xaicli.words import count

SECONDS = 10.0
"""Seconds per photo, by default."""

MOST_SCANS = 100
"""Maximum scans of a JPEG. Encoders write about ten, and each scan is a pass over all pixels."""

SKIP = "Skip such photos with --keep-going."


class Timed(io.BytesIO):
    """A photo's bytes, readable until its time is up; decoders read them in parts."""

    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(content)
        self.end = time.monotonic() + seconds

    def pause(self, wait: Callable[[], object]) -> None:
        """Call `wait`, which takes none of the photo's time."""
        start = time.monotonic()
        wait()
        self.end += time.monotonic() - start

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.end - time.monotonic())

    def check(self) -> None:
        """Raise OutOfTime if the time is up. Some decoders read all at once, and what they do then cannot be stopped: see
        `in_one_go`."""
        if time.monotonic() > self.end:
            raise OutOfTime

    def read(self, size: int | None = -1, /) -> bytes:
        self.check()
        return super().read(size)

    def released(self) -> bytes:
        """Let go of the bytes, which a decoded photo needs no more; returns none."""
        self.seek(0)
        self.truncate()
        return b""


class OutOfTime(Exception):
    """A photo took longer to decode than it is allowed to."""


def took_too_long(name: str, seconds: float) -> InputError:
    return InputError(
        f"{name} takes longer than {seconds:g} s to decode",
        expected="a photo that is quick to decode",
        hint="Give it more time with --decode-timeout, or skip such photos with --keep-going.",
    )


def refuse_slow(content: bytes, name: str) -> None:
    """Raise InputError for a JPEG of too many scans, or a TIFF of too many pages, before anything is decoded."""
    if content.startswith(b"\xff\xd8"):
        # Inside a scan, 0xFF is followed by 0 or a restart marker, so these bytes are a real marker.
        scans = content.count(b"\xff\xda")
        if scans > MOST_SCANS:
            raise InputError(f"{name} is a JPEG of {scans} scans", expected=f"at most {MOST_SCANS}", hint=SKIP)
    elif pages_of(content) > MOST_PAGES:
        raise InputError(
            f"{name} is a TIFF of more than {count(MOST_PAGES, 'page')}", expected=f"at most {MOST_PAGES:,}", hint=SKIP
        )


def significant_bits(content: bytes) -> int | None:
    """How many bits of each sample a PNG uses according to its chunk sBIT; None without that chunk."""
    at = 8
    while content.startswith(b"\x89PNG") and at <= len(content) - 12:
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"sBIT" and 1 <= length <= 4:
            return max(content[at + 8 : at + 8 + length], default=None)
        if kind == b"IDAT":
            return None
        at += 12 + length
    return None
