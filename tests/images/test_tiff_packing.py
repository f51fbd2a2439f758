"""TIFFs as they are packed in practice: each is read by what the extra `tiff` brings, or refused in one line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.images.samples import Reading
from xaicli.images.source import Source
from xaicli.images.window import Window

BANDS = (np.arange(24 * 32 * 5, dtype=np.uint16).reshape(24, 32, 5) * 37) % 4096
WINDOW = Window.parse("0:4095")
LEVEL = {"level": 0, "reversible": True}
PACKED: dict[str, dict[str, Any]] = {
    "not at all": {},
    "deflate": {"compression": "zlib", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "LZW": {"compression": "lzw", "predictor": True},
    "Zstandard": {"compression": "zstd"},
    "LZMA": {"compression": "lzma"},
    "LERC": {"compression": "lerc"},
    "LERC, in tiles": {"compression": "lerc", "tile": (16, 16)},
    "JPEG 2000": {"compression": "jpeg2000", "compressionargs": LEVEL},
    "JPEG 2000, in tiles": {"compression": "jpeg2000", "compressionargs": LEVEL, "tile": (16, 16)},
}
"""All without loss."""


def write(path: Path, values: np.ndarray, **settings: Any) -> Path:
    many = values.ndim == 3 and values.shape[2] != 3
    settings |= {"planarconfig": "contig"} if values.ndim == 3 else {}
    tifffile.imwrite(path, values, photometric="minisblack" if many or values.ndim == 2 else "rgb", **settings)
    return path


def bands(path: Path, channels: int) -> np.ndarray:
    found = np.asarray(decode(Source(str(path)), reading=Reading(channels, WINDOW)).bands)
    assert found is not None
    return np.rint(found * 4095)


@pytest.mark.parametrize("way", PACKED)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_way_of_packing_gives_the_values_that_were_packed(tmp_path: Path, way: str, channels: int) -> None:
    """Greys and colours too, of which Pillow reads some ways alone."""
    values = BANDS[..., 0] if channels == 1 else BANDS[..., :channels]
    path = write(tmp_path / "a.tif", values, **PACKED[way])
    np.testing.assert_array_equal(bands(path, channels), values[None] if channels == 1 else values.transpose(2, 0, 1))


def test_a_jpeg_of_four_bands_is_read_up_to_its_loss(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(0, 250, 32, dtype=np.uint8)[:, None], (24, 32, 4))
    path = write(tmp_path / "a.tif", smooth, compression="jpeg", compressionargs={"level": 95})
    found = np.asarray(decode(Source(str(path)), reading=Reading(4)).bands)
    assert found is not None
    assert np.abs(found * 255 - smooth.transpose(2, 0, 1)).max() <= 4


@pytest.mark.parametrize("way", ["jpegxl", "png", "jpegxr"])
def test_other_ways_are_refused_in_one_line_that_says_which_are_read(tmp_path: Path, way: str) -> None:
    values = BANDS[..., :3] if way == "png" else BANDS
    path = write(tmp_path / "a.tif", values, compression=way)
    with pytest.raises(InputError, match=rf"a\.tif: a TIFF packed by {way.upper()}; expected one packed by LZW, deflate, .*LERC"):
        decode(Source(str(path)), reading=Reading(values.shape[2]))


@pytest.mark.parametrize("way", ["LERC", "JPEG 2000", "JPEG"])
def test_a_piece_that_holds_a_larger_photo_than_its_page_says_is_not_unpacked(tmp_path: Path, way: str) -> None:
    settings = PACKED.get(way, {"compression": "jpeg"})
    path = write(tmp_path / "a.tif", BANDS.astype(np.uint8)[..., :4], **settings)
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags["ImageLength"]
        offset, size = tag.valueoffset, tag.count
    content = bytearray(path.read_bytes())
    assert size == 1
    content[offset : offset + 2] = (4).to_bytes(2, sys.byteorder)
    path.write_bytes(content)
    with pytest.raises(InputError, match="a TIFF that unpacks to more than it says"):
        decode(Source(str(path)), reading=Reading(4))


def test_the_extra_brings_what_unpacks_them() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert [need.partition(">")[0] for need in project["project"]["optional-dependencies"]["tiff"]] == ["tifffile", "imagecodecs"]


def test_without_imagecodecs_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "imagecodecs" else own(name, *rest))
    for way in set(PACKED) - {"not at all", "deflate", "PackBits"}:
        path = write(tmp_path / "a.tif", BANDS, **PACKED[way])
        with pytest.raises(InputError, match=r'imagecodecs is not installed\. Type: pip install "xaicli\[tiff\]"'):
            decode(Source(str(path)), reading=Reading(5))


def test_plain_deflated_and_packbits_files_need_tifffile_alone(tmp_path: Path) -> None:
    ways = ("not at all", "deflate", "PackBits")
    paths = [str(write(tmp_path / f"{number}.tif", BANDS, **PACKED[way])) for number, way in enumerate(ways)]
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from xaicli.images.decode import decode; from xaicli.images.samples import Reading\n"
        "from xaicli.images.source import Source\n"
        "print(*(decode(Source(path), reading=Reading(5)).bands.shape for path in sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(5, 24, 32) (5, 24, 32) (5, 24, 32)"


@pytest.mark.parametrize(
    "settings", [{"planarconfig": "separate"}, {"bigtiff": True, "byteorder": ">"}], ids=["in planes", "big-endian BigTIFF"]
)
def test_colours_of_16_bits_are_the_same_in_every_layout(tmp_path: Path, settings: dict[str, Any]) -> None:
    values = (np.arange(8 * 9 * 3).reshape(8, 9, 3) * 257 % 65536).astype(np.uint16)
    laid_out = values.transpose(2, 0, 1) if "planarconfig" in settings else values
    tifffile.imwrite(tmp_path / "a.tif", laid_out, photometric="rgb", **settings)
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "a.tif").image), values // 257)


@pytest.mark.parametrize("kind", [np.uint32, np.uint64, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_numbers_keep_their_sign_and_their_values(tmp_path: Path, kind: type, channels: int) -> None:
    values = np.array([[0, 1 << 30], [3 << 30, (1 << 32) - 1]])
    tifffile.imwrite(tmp_path / "a.tif", values.astype(kind), photometric="minisblack")
    reading = Reading(channels, Window.parse(f"0:{(1 << 32) - 1}"))
    picture = np.asarray(decode(tmp_path / "a.tif", reading=reading).image)[..., 0]
    np.testing.assert_array_equal(picture, np.rint(values / ((1 << 32) - 1) * 255))


def test_numbers_of_32_bits_without_a_sign_are_stretched_without_one(tmp_path: Path) -> None:
    values = np.array([[0, 3 << 30, (1 << 32) - 1]], dtype=np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "a.tif").image)[..., 0], [[0, 191, 255]])
