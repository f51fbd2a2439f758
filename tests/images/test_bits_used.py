"""Photos of fewer bits than their files hold: by what a file declares they are as bright as their copies of 8 bits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.images.photo_input import input_of
from xaicli.images.samples import Reading
from xaicli.images.source import Source
from xaicli.images.view import View

GREY = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (52, 1))
COLOURS = np.dstack([GREY, GREY.T, GREY[::-1, ::-1]])
HALF_A_STEP = 0.5 / 255


def filled(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of 8 bits in so many bits."""
    return np.rint(values.astype(np.float64) / 255 * (2**bits - 1)).astype(np.uint16)


def png(path: Path, values: np.ndarray, stated: int | None = None) -> Path:
    """A PNG of 16 bits, with the chunk that states how many are significant."""
    bands = 1 if values.ndim == 2 else values.shape[2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, {1: 0, 3: 2}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    significant = chunk(b"sBIT", bytes([stated] * bands)) if stated else b""
    parts = (chunk(b"IHDR", header), significant, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def tif(path: Path, values: np.ndarray, ends: dict[int, int]) -> Path:
    """A TIFF, with tags that state its smallest and largest value."""
    bands = 1 if values.ndim == 2 else values.shape[2]
    kind = "h" if values.dtype == np.int16 else "H"
    tags = [(tag, kind, bands, value if bands == 1 else (value,) * bands, True) for tag, value in ends.items()]
    tifffile.imwrite(path, values, photometric="minisblack" if bands == 1 else "rgb", extratags=tags)
    return path


def declared(folder: Path, values: np.ndarray, way: str) -> Path:
    twelve = filled(values, 12)
    if way == "PNG, unscaled":
        return png(folder / "a.png", twelve, 12)
    if way == "PNG, scaled":
        return png(folder / "a.png", twelve << 4 | twelve >> 8, 12)
    if way == "PNG, 10 bits":
        return png(folder / "a.png", filled(values, 10), 10)
    if way == "TIFF":
        return tif(folder / "a.tif", twelve, {281: 4095})
    return tif(folder / "a.tif", (twelve.astype(np.int32) - 2048).astype(np.int16), {340: -2048, 341: 2047})


@pytest.mark.parametrize("way", ["PNG, unscaled", "PNG, scaled", "PNG, 10 bits", "TIFF", "TIFF, signed"])
@pytest.mark.parametrize("values", [GREY, COLOURS], ids=["grey", "colours"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_of_declared_bits_is_its_copy_of_8_bits(tmp_path: Path, way: str, values: np.ndarray, channels: int) -> None:
    view = View((52, 52), None, "bilinear", (0,) * channels, (1,) * channels)
    own, copy = (
        input_of(decode(photo, reading=Reading(channels)), view)
        for photo in (Source(str(declared(tmp_path, values, way))), Image.fromarray(values))
    )
    # Of 10 bits a step is a fourth of one of 8; a grey of colours is rounded once more.
    assert float((own - copy).abs().max()) <= 2 * HALF_A_STEP


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("values", [GREY, COLOURS], ids=["grey", "colours"])
@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_of_bits_that_nothing_declares_the_window_to_give_is_said(
    tmp_path: Path, ending: str, values: np.ndarray, bits: int
) -> None:
    path = tmp_path / f"a.{ending}"
    made = filled(values, bits)
    if ending == "npy":
        np.save(path, made)
    elif ending == "png":
        png(path, made)
    else:
        tif(path, made, {})
    white = 2**bits - 1
    said = f"no value is above {white}: if white is that, as in photos of {bits} bits, give --window 0:{white}"
    assert said in decode(Source(str(path))).notes


def test_a_photo_that_uses_its_bits_is_not_asked_about_them(tmp_path: Path) -> None:
    for values in (filled(GREY, 16), filled(COLOURS, 15)):
        assert not any("no value is above" in note for note in decode(Source(str(png(tmp_path / "a.png", values)))).notes)


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ({340: 0.0, 341: 1000.0}, (0, 1000)),
        ({341: 1000.0}, (0, 1000)),
        ({340: -100.0}, (0, 255)),
        ({340: 0.0, 341: np.inf}, (0, 255)),
        ({340: -np.inf, 341: np.inf}, (0, 255)),
        ({340: np.nan, 341: np.nan}, (0, 255)),
    ],
)
def test_ends_that_say_nothing_are_not_black_and_white(tmp_path: Path, ends: dict[int, float], shown: tuple[int, int]) -> None:
    tags = [(tag, "f", 1, value, True) for tag, value in ends.items()]
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32), photometric="minisblack", extratags=tags)
    said = f"from {shown[0]} (black) to {shown[1]} (white)"
    assert any(said in note for note in decode(Source(str(tmp_path / "a.tif"))).notes)
    colours = [(tag, "f", 3, (value,) * 3, True) for tag, value in ends.items()]
    tifffile.imwrite(tmp_path / "b.tif", COLOURS.astype(np.float32), photometric="rgb", extratags=colours)
    if shown == (0, 1000):
        assert any(said in note for note in decode(Source(str(tmp_path / "b.tif"))).notes)
    else:
        with pytest.raises(InputError, match="nothing says which are black and white"):
            decode(Source(str(tmp_path / "b.tif")))
