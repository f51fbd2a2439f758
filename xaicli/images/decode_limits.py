"""Photos that would take long to decode are refused, by what their bytes say or when their time is up."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable

from xaicli.errors import InputError

SECONDS = 10.0
"""Seconds per photo, by default."""

MOST_SCANS = 100
"""Maximum scans of a JPEG. Encoders write about ten, and each scan is a pass over all pixels."""

MOST_PAGES = 10_000
"""Maximum pages of a TIFF. The time to count pages grows with the square of their number."""

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
    elif content[:4] in (b"II*\0", b"MM\0*") and pages_of(content) > MOST_PAGES:
        raise InputError(f"{name} is a TIFF of more than {MOST_PAGES:,} pages", expected=f"at most {MOST_PAGES:,}", hint=SKIP)


def pages_of(content: bytes) -> int:
    """The number of pages of a TIFF, counted up to MOST_PAGES + 1; each page points to the next."""
    order = "<" if content.startswith(b"II") else ">"
    pages, at = 0, struct.unpack_from(f"{order}I", content, 4)[0] if len(content) >= 8 else 0
    seen = set()
    while 0 < at <= len(content) - 2 and at not in seen and pages <= MOST_PAGES:
        seen.add(at)
        pages += 1
        behind = at + 2 + 12 * struct.unpack_from(f"{order}H", content, at)[0]
        at = struct.unpack_from(f"{order}I", content, behind)[0] if behind <= len(content) - 4 else 0
    return pages


def tiff_tag(content: bytes, tag: int) -> int | None:
    """The first number under a tag of a TIFF's first page; None if the tag is missing."""
    if content[:4] not in (b"II*\0", b"MM\0*") or len(content) < 8:
        return None
    order = "<" if content.startswith(b"II") else ">"
    at = struct.unpack_from(f"{order}I", content, 4)[0]
    if at > len(content) - 2:
        return None
    for entry in range(struct.unpack_from(f"{order}H", content, at)[0]):
        place = at + 2 + 12 * entry
        if place > len(content) - 12:
            return None
        found, kind, count = struct.unpack_from(f"{order}HHI", content, place)
        if found == tag:
            return number_at(content, place + 8, order, kind, count)
    return None


def number_at(content: bytes, place: int, order: str, kind: int, count: int) -> int | None:
    """The first of `count` whole numbers of a TIFF field: stored in the field itself if they fit into four bytes, else where the
    field points."""
    form = {3: "H", 4: "I"}.get(kind)
    if form is None or count < 1:
        return None
    size = struct.calcsize(form)
    at = place if size * count <= 4 else struct.unpack_from(f"{order}I", content, place)[0]
    return int(struct.unpack_from(f"{order}{form}", content, at)[0]) if at <= len(content) - size else None


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
