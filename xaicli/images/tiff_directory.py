"""The directories of a TIFF or BigTIFF, read from its bytes alone: how many pages it has, and numbers of the first."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_PAGES = 10_000
"""Maximum pages of a TIFF. The time to count pages grows with the square of their number."""

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF and BigTIFF begin, little-endian (II) and big-endian (MM)."""

NUMBERS = {3: "H", 4: "I", 16: "Q"}
"""Whole numbers without sign, by their type in a field."""


@dataclass(frozen=True)
class TiffLayout:
    """How a file writes its directories. order: of bytes; counted: the form of the number of fields; offset: of every position,
    and of the number of values in a field; start: where the position of the first directory stands."""

    order: str
    counted: str
    offset: str
    start: int

    @property
    def field(self) -> int:
        """Bytes of a field: tag, type, number of values, and the values or their position."""
        return 4 + 2 * struct.calcsize(self.offset)

    def number(self, content: bytes, form: str, at: int) -> int | None:
        """A number at a position; None behind the end."""
        fits = 0 <= at <= len(content) - struct.calcsize(form)
        return int(struct.unpack_from(f"{self.order}{form}", content, at)[0]) if fits else None


def layout_of(content: bytes) -> TiffLayout | None:
    """None for what is no TIFF."""
    if content[:4] not in MAGICS:
        return None
    order = "<" if content.startswith(b"II") else ">"
    return TiffLayout(order, "Q", "Q", 8) if b"+" in content[2:4] else TiffLayout(order, "H", "I", 4)


def pages_of(content: bytes) -> int:
    """The number of pages, counted up to MOST_PAGES + 1; each page points to the next."""
    layout = layout_of(content)
    if layout is None:
        return 0
    pages, seen = 0, set()
    at = layout.number(content, layout.offset, layout.start)
    while at and at not in seen and pages <= MOST_PAGES:
        fields = layout.number(content, layout.counted, at)
        if fields is None:
            break
        seen.add(at)
        pages += 1
        at = layout.number(content, layout.offset, at + struct.calcsize(layout.counted) + layout.field * fields)
    return pages


def tiff_tag(content: bytes, tag: int) -> int | None:
    """The first number under a tag of the first page; None if the tag is missing."""
    layout = layout_of(content)
    at = None if layout is None else layout.number(content, layout.offset, layout.start)
    if layout is None or at is None:
        return None
    fields = layout.number(content, layout.counted, at)
    if fields is None:
        return None
    first = at + struct.calcsize(layout.counted)
    # A damaged file may promise any number of fields; no more are there than its bytes hold.
    for place in range(first, min(first + layout.field * fields, len(content) - layout.field + 1), layout.field):
        if layout.number(content, "H", place) == tag:
            return number_at(content, layout, place)
    return None


def number_at(content: bytes, layout: TiffLayout, place: int) -> int | None:
    """The first whole number of a field: in the field itself if all fit, else where the field points."""
    form = NUMBERS.get(layout.number(content, "H", place + 2) or 0)
    count = layout.number(content, layout.offset, place + 4)
    if form is None or not count:
        return None
    room = struct.calcsize(layout.offset)
    inside = place + 4 + room
    at = inside if struct.calcsize(form) * count <= room else layout.number(content, layout.offset, inside)
    return None if at is None else layout.number(content, form, at)
