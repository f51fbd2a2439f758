"""Whatever the bytes are, a photo comes out or an error in words: nothing else, and no memory without limit."""

import io
import resource
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.decode import Photo, decode

KINDS = ["JPEG", "progressive", "CMYK", "PNG", "PNG palette", "PNG 16", "APNG", "WEBP", "lossless"]
KINDS += ["GIF", "TIFF", "TIFF lzw", "BMP", "AVIF", "PPM"]


def made(kind):
    y, x = np.mgrid[:20, :30]
    image = Image.fromarray(np.stack([x * 8, y * 12, (x * y) % 256], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    frames = {"save_all": True, "append_images": [image.rotate(90)]}
    how = {
        "JPEG": (image, "JPEG", {"exif": exif}),
        "progressive": (image, "JPEG", {"progressive": True}),
        "PNG": (image, "PNG", {"exif": exif}),
        "PNG palette": (image.quantize(16), "PNG", {"transparency": 3}),
        "PNG 16": (Image.fromarray((x * 2000).astype(np.uint16)), "PNG", {}),
        "WEBP": (image, "WEBP", {"exif": exif}),
        "lossless": (image.convert("RGBA"), "WEBP", {"lossless": True, **frames}),
        "GIF": (image, "GIF", frames),
        "TIFF": (image, "TIFF", {"exif": exif, **frames}),
        "TIFF lzw": (image, "TIFF", {"compression": "tiff_lzw"}),
        "BMP": (image, "BMP", {}),
        "AVIF": (image, "AVIF", {"exif": exif}),
        "PPM": (image, "PPM", {}),
        "APNG": (image, "PNG", frames),
        "CMYK": (image.convert("CMYK"), "JPEG", {"icc_profile": b"x" * 300}),
    }
    picture, form, options = how[kind]
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def try_to_decode(path, content, frame=0):
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            photo = decode(path, frame=frame, max_pixels=1_000_000)
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line) < 1000
        return line
    assert isinstance(photo, Photo)
    assert photo.image.mode == "RGB"
    assert photo.image.width * photo.image.height <= 1_000_000
    photo.image.tobytes()
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_decode(tmp_path, kind):
    assert try_to_decode(tmp_path / "photo", made(kind)) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_anywhere_give_a_photo_or_an_error(tmp_path, kind):
    content = made(kind)
    lengths = sorted({*range(0, min(64, len(content)), 3), *np.linspace(0, len(content) - 1, 40).astype(int).tolist()})
    said = [try_to_decode(tmp_path / "photo", content[:length]) for length in lengths]
    assert all(said[:10])
    assert sum(map(bool, said)) > len(said) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frame", [0, 1])
def test_files_with_bits_flipped_anywhere_give_a_photo_or_an_error(tmp_path, kind, frame):
    content = made(kind)
    rng = np.random.default_rng(len(content))
    for _ in range(80):
        damaged = bytearray(content)
        # Half of the hits go to the header, where they do most.
        reach = len(content) if rng.random() < 0.5 else min(200, len(content))
        for at in rng.integers(0, reach, int(rng.integers(1, 5))):
            damaged[at] ^= 1 << int(rng.integers(8))
        try_to_decode(tmp_path / "photo", bytes(damaged), frame)


@pytest.mark.parametrize("kind", KINDS)
def test_files_with_a_stretch_of_noise_give_a_photo_or_an_error(tmp_path, kind):
    content = made(kind)
    rng = np.random.default_rng(1)
    for _ in range(25):
        start = int(rng.integers(0, len(content)))
        stop = start + int(rng.integers(1, 80))
        noise = rng.integers(0, 256, max(0, min(stop, len(content)) - start), dtype=np.uint8).tobytes()
        try_to_decode(tmp_path / "photo", content[:start] + noise + content[stop:])


def huge():
    """Files of a few hundred bytes whose headers ask for ten thousand million pixels, or for as many as their format can say."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">2I5B", 100_000, 100_000, 8, 2, 0, 0, 0))
    yield "PNG", b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    header = struct.pack("<IiiHHIIiiII", 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "BMP", b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + header + b"\0" * 99
    screen = struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0)
    yield "GIF", b"GIF89a" + screen + b"\0" * 6 + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\0;"
    yield "PPM", b"P6 100000 100000 255\n" + b"\0" * 99
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\xff\xff\x00" * 2
    yield "WEBP", b"RIFF" + struct.pack("<I", len(webp)) + webp
    jpeg = bytearray(made("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">2H", 65535, 65535)
    yield "JPEG", bytes(jpeg)
    tags = [(256, 100_000), (257, 100_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 100_000), (279, 10**9)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    yield "TIFF", b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + rows + b"\0" * 4


@pytest.mark.parametrize(("kind", "content"), list(huge()))
def test_a_header_that_asks_for_all_memory_is_refused_before_it_is_given(tmp_path, kind, content):
    (tmp_path / "bomb").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError):
        decode(tmp_path / "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_a_tiff_whose_pages_lead_in_a_circle_ends(tmp_path):
    tags = [(256, 2), (257, 2), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 4)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + rows + struct.pack("<I", 8)
    (tmp_path / "photo.tif").write_bytes(content)
    assert try_to_decode(tmp_path / "photo.tif", content) == ""
