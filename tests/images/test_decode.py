"""Every kind of file, pixel and array becomes an upright RGB photo; every refusal is one line."""

import hashlib
import io
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.images.source import Source, content_hash


def smooth(width=24, height=16):
    """A picture whose colours change slowly, so that lossy formats keep it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)], axis=-1).astype(np.uint8)


def saved(tmp_path, image, ending, **options):
    path = tmp_path / f"photo{ending}"
    image.save(path, **options)
    return path


def pixels(photo):
    return np.asarray(photo.image)


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".ppm", ".gif", ".webp", ".jpg", ".jfif", ".avif"])
def test_every_format_is_read(tmp_path, ending):
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 98}, ".jfif": {"quality": 98}, ".avif": {"quality": 98}}
    path = saved(tmp_path, Image.fromarray(smooth()), ending, **options.get(ending, {}))
    photo = decode(path)
    assert photo.image.mode == "RGB"
    exact = ending in (".png", ".tif", ".bmp", ".ppm", ".webp")
    assert np.abs(pixels(photo).astype(int) - smooth()).max() <= (0 if exact else 12)
    assert (photo.frame, photo.frames, photo.notes) == (0, 1, ())
    assert photo.name == str(path)


def test_the_format_is_known_by_its_bytes_not_by_its_name(tmp_path):
    path = tmp_path / "really.jpg"
    Image.fromarray(smooth()).save(path, "PNG")
    assert np.array_equal(pixels(decode(path)), smooth())


def test_content_is_the_hash_of_the_bytes(tmp_path):
    path = saved(tmp_path, Image.fromarray(smooth()), ".png")
    assert decode(path).content == hashlib.sha256(path.read_bytes()).hexdigest() == content_hash(Source.of(path))


# Where the pixel stored first, and the one right of it, belong in a photo 3 wide and 2 high as stored (EXIF 2.3, tag 274).
ORIENTED = {
    1: ((0, 0), (0, 1)),
    2: ((0, 2), (0, 1)),
    3: ((1, 2), (1, 1)),
    4: ((1, 0), (1, 1)),
    5: ((0, 0), (1, 0)),
    6: ((0, 1), (1, 1)),
    7: ((2, 1), (1, 1)),
    8: ((2, 0), (1, 0)),
}


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg", ".avif"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_is_applied(tmp_path, ending, orientation):
    scale = 8
    stored = np.full((2, 3, 3), 255, dtype=np.uint8)
    stored[0, 0], stored[0, 1] = (200, 0, 0), (0, 0, 200)
    exif = Image.Exif()
    exif[0x0112] = orientation
    big = Image.fromarray(stored).resize((3 * scale, 2 * scale), Image.Resampling.NEAREST)
    jpeg, avif = {"quality": 98, "subsampling": 0}, {"quality": 98, "subsampling": "4:4:4"}
    options = {".webp": {"lossless": True}, ".jpg": jpeg, ".avif": avif}.get(ending, {})
    photo = decode(saved(tmp_path, big, ending, exif=exif, **options))
    centres = pixels(photo)[scale // 2 :: scale, scale // 2 :: scale].astype(int)
    assert centres.shape == ((2, 3, 3) if orientation < 5 else (3, 2, 3))
    first, second = ORIENTED[orientation]
    assert np.abs(centres[first] - (200, 0, 0)).max() < 20
    assert np.abs(centres[second] - (0, 0, 200)).max() < 20


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(saved(tmp_path, Image.fromarray(smooth()), ".png", exif=exif)).image.size == (24, 16)


def test_a_damaged_exif_block_does_not_cost_the_photo(tmp_path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40
    photo = decode(saved(tmp_path, Image.fromarray(smooth()), ".jpg", exif=exif))
    assert photo.image.size == (24, 16)


def test_palettes_become_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert pixels(decode(saved(tmp_path, image, ".png"))).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize("ending", [".png", ".gif", ".bmp", ".tif"])
def test_grey_and_one_bit_become_three_equal_colours(tmp_path, ending):
    grey = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8))
    assert pixels(decode(saved(tmp_path, grey, ending))).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    bits = grey.point(lambda value: 255 if value > 99 else 0).convert("1")
    assert pixels(decode(saved(tmp_path, bits, ending))).tolist() == [[[0] * 3, [255] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_transparency_is_laid_on_the_colour_that_is_declared(tmp_path, mode, ending):
    image = Image.new("RGBA", (3, 1), (200, 200, 200, 255))
    image.putpixel((1, 0), (200, 200, 200, 0))
    image.putpixel((2, 0), (200, 200, 200, 51))
    options = {"lossless": True, "exact": True} if ending == ".webp" else {}
    path = saved(tmp_path, image.convert(mode), ending, **options)
    photo = decode(path, background=(0, 100, 50))
    assert pixels(photo).tolist() == [[[200, 200, 200], [0, 100, 50], [40, 120, 80]]]
    assert photo.notes == ("transparent parts laid on 0,100,50",)
    assert pixels(decode(path)).tolist()[0][1] == [255, 255, 255]


def test_an_alpha_that_hides_nothing_is_not_mentioned(tmp_path):
    photo = decode(saved(tmp_path, Image.fromarray(smooth()).convert("RGBA"), ".png"))
    assert np.array_equal(pixels(photo), smooth())
    assert photo.notes == ()


def test_a_transparent_colour_is_transparency_too(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for image, key in ((palette, 1), (Image.fromarray(np.array([[5, 7]], np.uint8)), 7)):
        path = saved(tmp_path, image, ".png", transparency=key)
        assert pixels(decode(path, background=(1, 2, 3)))[0, 1].tolist() == [1, 2, 3]
    colours = Image.new("RGB", (2, 1), (9, 8, 7))
    colours.putpixel((1, 0), (1, 1, 1))
    path = saved(tmp_path, colours, ".png", transparency=(1, 1, 1))
    assert pixels(decode(path, background=(4, 5, 6))).tolist() == [[[9, 8, 7], [4, 5, 6]]]


def test_premultiplied_modes_and_palettes_with_alpha_are_read():
    rgba = Image.new("RGBA", (1, 1), (200, 100, 50, 255))
    assert pixels(decode(rgba.convert("RGBa"))).tolist() == [[[200, 100, 50]]]
    assert pixels(decode(Image.new("LA", (1, 1), (80, 255)).convert("La"))).tolist() == [[[80, 80, 80]]]
    assert pixels(decode(Image.new("YCbCr", (1, 1), (128, 128, 128)))).tolist() == [[[128, 128, 128]]]
    assert pixels(decode(Image.new("HSV", (1, 1), (0, 0, 77)))).tolist() == [[[77, 77, 77]]]
    assert pixels(decode(Image.new("LAB", (1, 1), (255, 128, 128)))).min() > 250


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, ending):
    values = np.array([[0, 257, 128, 32768, 65535]], dtype=np.uint16)
    photo = decode(saved(tmp_path, Image.fromarray(values), ending))
    assert pixels(photo)[0, :, 0].tolist() == [0, 1, 0, 128, 255]


def tiff(bits, data, width, *, photometric=1, order="<", sample_format=1):
    """A grey TIFF of one row, uncompressed."""
    tags = [(256, 4, width), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, 1), (279, 4, len(data)), (339, 3, sample_format)]
    data += b"\0" * (-len(data) % 2)
    rows = b""
    for tag, kind, value in tags:
        packed = struct.pack(order + ("I" if kind == 4 else "H"), value)
        rows += struct.pack(order + "HHI", tag, kind, 1) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + rows + b"\0" * 4


@pytest.mark.parametrize(
    ("file", "grey"),
    [
        (tiff(12, b"\xff\xf0\x00", 2), [255, 0]),
        (tiff(16, struct.pack("<2H", 65535, 0), 2, photometric=0), [0, 255]),
        (tiff(16, struct.pack(">2H", 65535, 257), 2, order=">"), [255, 1]),
        (b"P5 2 1 65535\n" + struct.pack(">2H", 65535, 257), [255, 1]),
        (b"P5 2 1 1023\n" + struct.pack(">2H", 1023, 0), [255, 0]),
        (b"P2 2 1 15\n15 0\n", [255, 0]),
    ],
)
def test_odd_depths_have_their_own_white(tmp_path, file, grey):
    (tmp_path / "photo").write_bytes(file)
    assert pixels(decode(tmp_path / "photo"))[0, :, 0].tolist() == grey


@pytest.mark.parametrize(
    ("file", "grey", "note"),
    [
        (tiff(32, struct.pack("<3i", -5, 5, 0), 3, sample_format=2), [0, 255, 128], "32-bit values from -5 (black) to 5 (white)"),
        (tiff(32, struct.pack("<2i", 7, 7), 2, sample_format=2), [128, 128], "32-bit values from 7 (black) to 7 (white)"),
        (tiff(32, struct.pack("<3f", 0, 1, 0.5), 3, sample_format=3), [0, 255, 128], None),
        (tiff(32, struct.pack("<3f", -1, 3, 1), 3, sample_format=3), [0, 255, 128], "float values from -1 (black) to 3 (white)"),
    ],
)
def test_files_without_a_white_are_stretched_and_say_so(tmp_path, file, grey, note):
    (tmp_path / "photo.tif").write_bytes(file)
    photo = decode(tmp_path / "photo.tif")
    assert pixels(photo)[0, :, 1].tolist() == grey
    assert photo.notes == (() if note is None else (note,))


def test_floats_that_are_not_finite_are_refused(tmp_path):
    (tmp_path / "photo.tif").write_bytes(tiff(32, struct.pack("<2f", float("nan"), 1), 2, sample_format=3))
    with pytest.raises(InputError, match="not all finite"):
        decode(tmp_path / "photo.tif")


def cmyk_profile():
    """A CMYK profile after ICC.1:2001-04: paper is white, pure magenta the grey L* = 50, all else black."""
    table = [[100, 0, 0] if corner == 0 else [50, 0, 0] if corner == 0b0100 else [0, 0, 0] for corner in range(16)]
    clut = bytes(value for light, a, b in table for value in (round(light * 255 / 100), a + 128, b + 128))
    identity = bytes(range(256))
    one = struct.pack(">9i", *(65536 if at % 4 == 0 else 0 for at in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + one + identity * 4 + clut + identity * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    words = b"text\0\0\0\0none\0"
    tags, body, at = b"", b"", 128 + 4 + 4 * 12
    for name, content in ((b"A2B0", lut), (b"wtpt", white), (b"cprt", words), (b"desc", words)):
        content += b"\0" * (-len(content) % 4)
        tags += name + struct.pack(">2I", at, len(content))
        body, at = body + content, at + len(content)
    head = struct.pack(">I4sI4s4s4s", at, b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ") + b"\0" * 12 + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    return head.ljust(128, b"\0") + struct.pack(">I", 4) + tags + body


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_goes_through_its_own_profile(tmp_path, ending):
    image = Image.new("CMYK", (16, 8), (0, 0, 0, 0))
    image.paste((0, 255, 0, 0), (8, 0, 16, 8))
    options = {"quality": 100} if ending == ".jpg" else {}
    photo = decode(saved(tmp_path, image, ending, icc_profile=cmyk_profile(), **options))
    left, right = pixels(photo)[4, 2].astype(int), pixels(photo)[4, 13].astype(int)
    assert left.min() >= 253
    # sRGB of the grey L* = 50 is 119.
    assert np.abs(right - 119).max() <= 3
    assert photo.notes == ()


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
@pytest.mark.parametrize("profile", [None, b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_cmyk_without_a_profile_that_fits_is_approximate_and_says_so(tmp_path, ending, profile):
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    options = {"quality": 100} if ending == ".jpg" else {}
    photo = decode(saved(tmp_path, image, ending, icc_profile=profile, **options))
    # An inverted Adobe JPEG read the wrong way round would be dark red.
    assert np.abs(pixels(photo)[8, 8].astype(int) - (0, 255, 255)).max() <= 3
    assert "colours are approximate" in photo.notes[0]


def test_rgb_profiles_are_left_alone(tmp_path):
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = decode(saved(tmp_path, Image.fromarray(smooth()), ".png", icc_profile=swapped))
    assert np.array_equal(pixels(photo), smooth())


COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250))


def frames():
    """Three pictures, made anew, since Pillow leaves marks on a picture that it writes."""
    return [Image.new("RGB", (8, 6), colour) for colour in COLOURS]


@pytest.mark.parametrize("ending", [".gif", ".png", ".webp", ".tif", ".avif"])
def test_the_first_frame_is_used_and_said_so(tmp_path, ending):
    options = {".webp": {"lossless": True}}.get(ending, {})
    first, *rest = frames()
    path = saved(tmp_path, first, ending, save_all=True, append_images=rest, **options)
    kind = "3 pages: page {} used" if ending == ".tif" else "animated, 3 frames: frame {} used"
    for frame in range(3):
        photo = decode(path, frame=frame)
        assert (photo.frame, photo.frames, photo.notes) == (frame, 3, (kind.format(frame),))
        assert pixels(photo)[3, 4].argmax() == frame
        assert pixels(photo)[3, 4].max() > 200
    for frame in (3, -1, 99):
        with pytest.raises(InputError, match=rf"has 3 frames, but no frame {frame}; expected --frame 0 to 2"):
            decode(path, frame=frame)


def test_a_photo_of_one_frame_has_no_second(tmp_path):
    with pytest.raises(InputError, match="has 1 frame, but no frame 1; expected --frame 0"):
        decode(saved(tmp_path, frames()[0], ".png"), frame=1)


def test_previews_inside_a_jpeg_are_no_animation(tmp_path):
    path = tmp_path / "phone.jpg"
    first, *rest = frames()
    first.save(path, "MPO", save_all=True, append_images=rest)
    photo = decode(path)
    assert photo.notes == ()
    assert pixels(photo)[3, 4].argmax() == 0
    assert pixels(decode(path, frame=2))[3, 4].argmax() == 2


def test_a_source_is_decoded_under_its_path(tmp_path):
    path = saved(tmp_path, frames()[0], ".png")
    assert decode(Source("sample:mine", "mine", 0, path)).name == "sample:mine"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (smooth(), smooth()),
        (smooth()[..., 0], np.repeat(smooth()[..., :1], 3, axis=2)),
        (smooth()[..., :1], np.repeat(smooth()[..., :1], 3, axis=2)),
        (smooth().astype(np.uint16) * 257, smooth()),
        (smooth() / 255, smooth()),
        ((smooth() / 255).astype(np.float32), smooth()),
        (smooth().transpose(2, 0, 1), smooth()),
        (smooth() > 99, (smooth() > 99) * 255),
    ],
)
def test_arrays_are_photos(array, expected):
    before = array.copy()
    assert np.array_equal(pixels(decode(array)), expected)
    assert np.array_equal(array, before)


def test_tensors_have_their_colours_first():
    tensor = torch.from_numpy(smooth().transpose(2, 0, 1).copy())
    assert np.array_equal(pixels(decode(tensor)), smooth())
    assert np.array_equal(pixels(decode((tensor / 255).requires_grad_())), smooth())
    both = torch.arange(27, dtype=torch.uint8).reshape(3, 3, 3)
    assert np.array_equal(pixels(decode(both)), both.permute(1, 2, 0).numpy())
    assert np.array_equal(pixels(decode(both.numpy())), both.numpy())


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 3, 4, 4)), "a batch of one"),
        (np.zeros((2, 4, 4, 3)), r"shape \(2, 4, 4, 3\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4), np.int64), "values from 0 to 0.*--window LOW:HIGH"),
        (np.zeros((4, 4), complex), "type complex128"),
        (np.zeros((4, 4), object), "type object"),
        (np.full((4, 4), 200.0), "values from 200 to 200"),
        (np.full((4, 4, 3), -0.1), "values from -0.1 to -0.1"),
        (np.array([[np.nan, 1]]), "NaN"),
        (torch.zeros(4, 4, dtype=torch.int32), "values from 0 to 0"),
        (torch.zeros(3, 4, 4, dtype=torch.bfloat16), "that cannot become an array"),
    ],
)
def test_arrays_that_are_no_photo_are_refused(array, said):
    with pytest.raises(InputError, match=said):
        decode(array)


def test_content_of_photos_in_memory_is_their_content_hash():
    for memory in (smooth(), Image.fromarray(smooth()), torch.from_numpy(smooth())):
        assert decode(memory).content == content_hash(Source.of(memory))


def test_a_pil_photo_is_turned_as_its_file_would_be_and_not_changed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(smooth()), ".png", exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(pixels(decode(image)), pixels(decode(path)))
        assert image.size == (24, 16)


def test_frames_of_photos_in_memory_are_refused():
    with pytest.raises(InputError, match="Pass its path instead"):
        decode(frames()[0], frame=1)


@pytest.mark.parametrize("wrong", [None, 5, ["a.jpg"], b"bytes"])
def test_what_is_no_photo_is_refused(wrong):
    with pytest.raises(InputError, match="is not a photo"):
        decode(wrong)


def jpeg(width=240, height=160):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty (0 bytes)"),
        (b"hello, I am not a photo", "it is text, not a picture"),
        ("grüße".encode(), "it is text, not a picture"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page (HTML)"),
        (b'<?xml version="1.0"?><svg xmlns="...">', "it is an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "it is a Git LFS pointer"),
        (b"%PDF-1.7 ...", "it is a PDF"),
        (b"PK\x03\x04....", "it is a ZIP archive"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC photo"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "it is a video (isom)"),
        (b"\x1aE\xdf\xa3" + bytes(99), "it is a video"),
        (b"RIFF\0\0\0\0AVI " + bytes(99), "it is a video"),
        (b"\0" * 5000, "nothing but zeros"),
        (bytes(range(128, 256)) * 9, "its format is not known"),
        (jpeg()[:1], "its format is not known"),
        (jpeg()[:4], "its JPEG header is damaged or cut short (4 bytes)"),
        (jpeg()[:20480], "it ends after 20 KiB, before the picture is complete (truncated JPEG)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(tmp_path, content, said):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode(path)
    line = str(caught.value)
    assert line.startswith(f"{path} is not a readable photo: ")
    assert said in line
    assert ("--frames N" in line) == ("video" in said)
    assert line.endswith("--keep-going skips it." if "video" in said else "Skip such photos with --keep-going.")
    assert "\n" not in line


@pytest.mark.parametrize("ending", [".webp", ".bmp"])
def test_formats_that_state_their_length_say_how_much_is_missing(tmp_path, ending):
    options = {"lossless": True} if ending == ".webp" else {}
    path = saved(tmp_path, Image.fromarray(smooth(200, 100)), ending, **options)
    length = path.stat().st_size
    path.write_bytes(path.read_bytes()[: length // 2])
    with pytest.raises(InputError, match=r"it ends after \d+ (bytes|KiB) of \d+ (bytes|KiB) \(truncated"):
        decode(path)


def test_a_few_bytes_missing_are_counted(tmp_path):
    path = saved(tmp_path, Image.fromarray(smooth(200, 100)), ".bmp")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"its last 7 bytes are missing \(truncated BMP\)"):
        decode(path)


def test_folders_missing_files_and_pipes_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder; expected a photo"):
        decode(tmp_path)
    with pytest.raises(InputError, match="does not exist; expected a photo"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        decode("nul\0byte")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no file"):
        decode(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no file"):
        decode("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    path = saved(tmp_path, frames()[0], ".png")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: permission denied"):
        decode(path)


def test_photos_are_refused_above_the_limits(tmp_path):
    path = saved(tmp_path, Image.fromarray(smooth()), ".png")
    assert decode(path, max_pixels=24 * 16).image.size == (24, 16)
    with pytest.raises(InputError, match="has 24 x 16 pixels; expected at most 383 pixels in all"):
        decode(path, max_pixels=383)
    with pytest.raises(InputError, match="expected at most"):
        decode(path, max_bytes=10)
    with pytest.raises(InputError, match="pixels"):
        decode(Image.fromarray(smooth()), max_pixels=383)
    with pytest.raises(InputError, match="pixels"):
        decode(smooth(), max_pixels=20)


def test_threads_decode_alike(tmp_path):
    endings = [".png", ".jpg", ".webp", ".gif", ".tif", ".avif"]
    files = [saved(tmp_path, Image.fromarray(smooth()), ending) for ending in endings]
    alone = [pixels(decode(file)) for file in files]
    with ThreadPoolExecutor(8) as pool:
        for again in range(5):
            for one, many in zip(alone, pool.map(lambda file: pixels(decode(file)), files), strict=True):
                assert np.array_equal(one, many), again


@pytest.mark.parametrize("at_a_time", [1, 70, 1 << 22])
def test_grey_of_sixteen_bits_is_the_same_however_many_rows_are_taken_at_a_time(tmp_path, monkeypatch, at_a_time):
    values = np.random.default_rng(4).integers(0, 1 << 16, (23, 31), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    monkeypatch.setattr("xaicli.images.pixels.AT_A_TIME", at_a_time)
    wide = values.astype(np.int64)
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png").image)[..., 0], (wide * 255 + 32767) // 65535)
