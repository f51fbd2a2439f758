"""Photos that are slow to decode are refused in one line; encodings that files declare are followed, or named."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images import decode_limits, footprint, in_one_go
from xaicli.images.decode import PLUGINS, decode
from xaicli.images.decode_limits import MOST_PAGES, MOST_SCANS, Timed
from xaicli.images.photo_input import input_of
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.images.view_values import per_channel
from xaicli.runs.photos import Failure, load


def progressive(scans: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (10, 20, 30)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * scans + content[-2:]


def pages(count: int) -> bytes:
    """A TIFF of so many pages of 8 x 8 pixels, all of the same bytes."""
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1)]
    tags += [(278, 4, 1, 8), (279, 4, 1, 64)]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    size, start = len(body) + 4, 72
    links = [start + size * (page + 1) if page < count - 1 else 0 for page in range(count)]
    return b"II*\0" + struct.pack("<I", start) + b"\x80" * 64 + b"".join(body + struct.pack("<I", link) for link in links)


@pytest.mark.parametrize(
    ("make", "most", "words"), [(progressive, MOST_SCANS, "JPEG of .* scans"), (pages, MOST_PAGES, "TIFF of more than")]
)
def test_too_many_scans_or_pages_are_refused_before_decoding(
    make: Callable[[int], bytes], most: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "slow").write_bytes(make(most + 1))
    with pytest.raises(InputError, match=f"slow is a {words}"):
        decode(tmp_path / "slow")
    (tmp_path / "quick").write_bytes(make(3))
    decode(tmp_path / "quick")


def test_a_photo_whose_time_is_up_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "slow.ppm").write_bytes(b"P6\n#" + b"c" * 100 + b"\n1 1\n255\nabc")
    with pytest.raises(InputError, match=r"slow.ppm takes longer than 1e-09 s to decode.*--decode-timeout"):
        decode(tmp_path / "slow.ppm", seconds=1e-9)


def test_bytes_are_read_whole_while_there_is_time() -> None:
    assert Timed(b"abc", 60).read() == b"abc"


def test_an_error_below_decoding_bears_the_photo_s_path_as_it_was_typed(tmp_path: Path) -> None:
    Image.new("L", (1, 65500)).save(tmp_path / "strip.png")
    failed = load(Source.of_file(tmp_path / "strip.png"), View(), (255, 255, 255))
    assert isinstance(failed, Failure)
    assert failed.error.line().startswith(f"{tmp_path / 'strip.png'}: ")


def png_of(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 16 bits that says how many of them are used."""
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(stream, "PNG")
    content, chunk = stream.getvalue(), b"sBIT" + bytes([bits])
    return content[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


@pytest.mark.parametrize("scaled", [False, True])
def test_twelve_bits_in_a_png_of_sixteen_are_as_bright_as_they_were(scaled: bool, tmp_path: Path) -> None:
    twelve = np.linspace(0, 4095, 64).astype(np.uint32).reshape(8, 8)
    (tmp_path / "a.png").write_bytes(png_of(twelve << 4 if scaled else twelve, 12))
    values = np.asarray(decode(tmp_path / "a.png").image)[..., 0]
    assert np.abs(values - twelve * 255 / 4095).max() <= 1


def test_the_largest_value_that_a_tiff_states_is_white(tmp_path: Path) -> None:
    twelve = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(twelve).save(tmp_path / "a.tif", tiffinfo={281: 4095})
    photo = decode(tmp_path / "a.tif")
    assert np.asarray(photo.image).max() == 255
    assert "4095" in " ".join(photo.notes)


def tiff_of(bands: int, photometric: int) -> bytes:
    extra = bands - (3 if photometric == 2 else 1)
    tags = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 8)]
    tags += [(277, 3, 1, bands), (278, 4, 1, 4), (279, 4, 1, 16 * bands), (284, 3, 1, 1)]
    start = 8 + 16 * bands
    listed = {258: [8] * bands, 338: [0] * extra}
    tags += [(338, 3, extra, 0)]
    behind = start + 2 + 12 * len(tags) + 4
    entries, data = [], b""
    for tag, kind, count, value in tags:
        if tag in listed and len(listed[tag]) > 2:
            entries.append(struct.pack("<HHII", tag, kind, len(listed[tag]), behind + len(data)))
            data += struct.pack(f"<{len(listed[tag])}H", *listed[tag])
        else:
            entries.append(struct.pack("<HHII", tag, kind, count, value))
    body = struct.pack("<H", len(tags)) + b"".join(entries) + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", start) + bytes(range(16 * bands)) + body + data


def test_bands_that_are_left_out_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(5, 2))
    assert any("2 of 5 bands left out" in note for note in decode(tmp_path / "a.tif").notes)


def test_bands_without_colours_are_named_and_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(5, 1))
    photo = decode(tmp_path / "a.tif")
    with pytest.raises(InputError, match="a photo of 5 bands; expected 3, as many as the network takes channels"):
        input_of(photo, View())


def test_means_in_units_of_0_to_255_are_refused_with_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"units of 0 to 255; expected 0 to 1. Write 0.485,0.456,0.406"):
        per_channel("mean", (123.675, 116.28, 103.53))
    assert per_channel("mean", (0.5, 0.5, 0.5)) == (0.5, 0.5, 0.5)


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes only where a test says so."""
    now = [0.0]
    monkeypatch.setattr(decode_limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def slow(function, clock, seconds):
    def slowed(*given):
        clock[0] += seconds
        return function(*given)

    return slowed


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.format)
def test_a_decoder_that_works_too_long_in_one_go_is_refused(plugin, clock, tmp_path, monkeypatch):
    Image.new("RGB", (8, 6), (10, 200, 30)).save(tmp_path / "a", plugin.format)
    assert decode(tmp_path / "a").size == (8, 6)
    monkeypatch.setattr(plugin, "load", slow(plugin.load, clock, 11))
    with pytest.raises(InputError, match="takes longer than 10 s to decode"):
        decode(tmp_path / "a")
    assert decode(tmp_path / "a", seconds=30).size == (8, 6)


@pytest.mark.parametrize("form", ["WEBP", "AVIF", "GIF", "TIFF", "PNG"])
def test_frames_on_the_way_to_the_wanted_one_take_its_time(form, clock, tmp_path, monkeypatch):
    frames = [Image.new("RGB", (8, 6), (number, 2 * number, 90)) for number in range(0, 200, 10)]
    frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "a", frame=19).frame == 19
    plugin = next(plugin for plugin in PLUGINS if plugin.format == form)
    seeks = [0]

    def seek(image, number, seek=plugin.seek):
        seeks[0] += 1
        clock[0] += 1
        seek(image, number)

    monkeypatch.setattr(plugin, "seek", seek)
    with pytest.raises(InputError, match="takes longer than 10 s to decode"):
        decode(tmp_path / "a", frame=19)
    assert seeks[0] < 15


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
def test_a_decoder_that_works_in_one_go_is_ended_in_time(form, tmp_path, monkeypatch):
    """A process of its own decodes the photo first; it is ended, and the photo refused."""
    Image.new("RGB", (8, 6), (10, 200, 30)).save(tmp_path / "a", form)
    monkeypatch.setattr(in_one_go, "MANY", 0)
    assert decode(tmp_path / "a", seconds=60).size == (8, 6)
    monkeypatch.setattr(in_one_go, "PICTURE", "import time; time.sleep(600)")
    with pytest.raises(InputError, match="takes longer than 1 s to decode"):
        decode(tmp_path / "a", seconds=1)


def test_a_small_photo_is_decoded_here_alone(tmp_path, monkeypatch):
    Image.new("RGB", (8, 6), (10, 200, 30)).save(tmp_path / "a", "WEBP")
    monkeypatch.setattr(in_one_go, "PICTURE", "import time; time.sleep(600)")
    assert decode(tmp_path / "a").size == (8, 6)


def test_the_elements_of_a_dicom_file_are_read_by_the_clock(clock, tmp_path, monkeypatch):
    pytest.importorskip("pydicom")
    read = Timed.read

    def slowly(self, size=-1, /):
        clock[0] += 4
        return read(self, size)

    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x60\x00CS\x02\x00CT" * 9)
    monkeypatch.setattr(Timed, "read", slowly)
    with pytest.raises(InputError, match="takes longer than 10 s to decode"):
        decode(tmp_path / "a.dcm")


def test_a_photo_that_takes_too_much_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """A progressive JPEG keeps the coefficients of all scans beside its pixels."""
    picture = Image.new("RGB", (80, 60), (10, 200, 30))
    picture.save(tmp_path / "plain.jpg")
    picture.save(tmp_path / "slow.jpg", progressive=True)
    monkeypatch.setattr(footprint, "LARGEST", 80 * 60 * 8)
    assert decode(tmp_path / "plain.jpg").size == (80, 60)
    with pytest.raises(InputError, match=r"slow.jpg, a progressive JPEG of 80 x 60 pixels, takes .* MiB of memory to decode"):
        decode(tmp_path / "slow.jpg")


def test_a_plain_jpeg_of_any_size_that_is_read_takes_little_enough():
    """The largest photo, with a file of 40 MB."""
    whole = SimpleNamespace(width=13_370, height=13_370, mode="RGB", format="JPEG", info={})
    footprint.refuse_heavy(whole, bytes(40_000_000), "a.jpg")
