"""How the pixels of a TIFF are packed: what is unpacked here, by which library, and how large a piece may become."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from xaicli.errors import InputError
from xaicli.images.decode_limits import Timed
from xaicli.images.in_one_go import MANY, TIFF, try_apart
from xaicli.packages import require

PLAIN = (1, 32773)
"""As they are, and PackBits, which cannot grow beyond 64 times."""
DEFLATE = (8, 32946, 50013)
TO_A_SIZE = (5, 34925, 50000)
"""LZW, LZMA and Zstandard: imagecodecs unpacks them into as much room as the header asks for, and no more."""
JPEG, JPEG_2000 = (7,), (33003, 33004, 33005, 34712)
LERC = (34887,)
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
CODESTREAM = b"\xff\x4f\xff\x51"
BY_IMAGECODECS = (*TO_A_SIZE, *JPEG, *JPEG_2000, *LERC)
BY_TIFFFILE = (*PLAIN, *DEFLATE, *BY_IMAGECODECS)
BY_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000)
WAYS = "one packed by LZW, deflate, PackBits, Zstandard, LZMA, JPEG, JPEG 2000 or LERC, or not at all"


def unpacked(page: Any, content: bytes, timed: Timed) -> Any:
    """A page's array; raises InputError where it is packed in a way that is not read here, or unpacks to more than it says, and
    whatever a library raises on damaged bytes."""
    refuse_unread(page)
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        refuse_bomb(page, content[start : start + length])
    if page.compression in BY_IMAGECODECS and page.imagewidth * page.imagelength > MANY:
        try_apart(TIFF, content, page.index, timed)
    return page.asarray(maxworkers=1)


def refuse_unread(page: Any) -> None:
    """Raise InputError for a way of packing that is not read here, or whose library is absent."""
    if page.compression in BY_IMAGECODECS:
        require("imagecodecs", "tiff")
    elif page.compression not in BY_TIFFFILE:
        raise InputError(f"a TIFF packed by {getattr(page.compression, 'name', page.compression)}", expected=WAYS)


def refuse_bomb(page: Any, piece: bytes) -> None:
    """Raise InputError for a strip or tile that would unpack to more than its page says."""
    if page.compression in DEFLATE:
        unpacker = zlib.decompressobj()
        unpacker.decompress(piece, page.nbytes + 1)
        larger = bool(unpacker.unconsumed_tail)
    elif page.compression in (*JPEG, *JPEG_2000, *LERC) and piece:
        if page.compression in LERC:
            refuse_nested(page)
        width, height = next(size for kinds, size in SIZES.items() if page.compression in kinds)(piece)
        across = page.tilewidth if page.is_tiled else page.imagewidth
        down = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        larger = width > across or height > down
    else:
        return
    if larger:
        raise InputError("a TIFF that unpacks to more than it says", expected="a photo")


def size_of_jpeg(piece: bytes) -> tuple[int, int]:
    """Width and height of a JPEG, which stand in the first frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(piece) and piece[at] == 0xFF:
        if piece[at + 1] in FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", piece, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", piece, at + 2)[0]
    raise InputError("a TIFF whose JPEG has no frame header", expected="a photo")


def size_of_jpeg_2000(piece: bytes) -> tuple[int, int]:
    """Width and height of a JPEG 2000, which stand at the start of its codestream (ITU-T T.800, A.5.1); the largest, should there
    be several such places."""
    sizes = []
    at = piece.find(CODESTREAM)
    while at >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", piece, at + 8)
        sizes.append((right - left, bottom - top))
        at = piece.find(CODESTREAM, at + 1)
    if not sizes:
        raise InputError("a TIFF whose JPEG 2000 has no codestream", expected="a photo")
    widths, heights = zip(*sizes, strict=True)
    return max(widths), max(heights)


def refuse_nested(page: Any) -> None:
    """Raise InputError for pieces that another way has packed once more behind LERC."""
    tag = page.tags.get("LercParameters")
    if tag is not None and len(tag.value) > 1 and tag.value[1]:
        raise InputError("a TIFF packed by LERC and once more", expected=WAYS)


def size_of_lerc(piece: bytes) -> tuple[int, int]:
    """Width and height of a piece that LERC packed, which stand in its header (Esri's LERC2)."""
    if not piece.startswith(b"Lerc2 "):
        raise InputError("a TIFF packed by an old LERC", expected=WAYS)
    (version,) = struct.unpack_from("<i", piece, 6)
    height, width = struct.unpack_from("<ii", piece, 14 if version >= 3 else 10)
    return width, height


SIZES = {JPEG: size_of_jpeg, JPEG_2000: size_of_jpeg_2000, LERC: size_of_lerc}
"""How the width and height of a piece that is a photo of its own are read."""
