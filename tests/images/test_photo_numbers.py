"""Files of numbers: arrays, TIFFs of many bands, 16 bits, DICOM; each is read, or refused in one line with its name."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from xaicli.errors import InputError
from xaicli.images.decode import Photo, decode
from xaicli.images.deep_png import MAGIC
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs.photos import Failure, load

BANDS = np.random.default_rng(0).integers(0, 10_000, (13, 8, 9)).astype(np.uint16)
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
COPY = np.rint(RAMP / 4095 * 255).astype(np.uint8)


def view(channels: int, window: str = "declared", size: tuple[int, int] = (8, 9)) -> View:
    return View(size, None, mean=(0.0,) * channels, std=(1.0,) * channels, window=window)


def read(path: Path, channels: int, window: str = "declared", frame: int = 0) -> Photo:
    return decode(path, frame, reading=reading_of(view(channels, window)))


def dicom(path: Path, values: np.ndarray, photometric: str = "MONOCHROME2", bits: int = 12, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    colour = photometric == "RGB"
    dataset.Rows, dataset.Columns = values.shape[:2] if colour else values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3 if colour else 1, photometric
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.itemsize, bits, bits - 1
    dataset.PixelRepresentation, dataset.Modality = int(values.dtype.kind == "i"), "CT"
    dataset.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def tif(path: Path, array: np.ndarray, photometric: str = "minisblack", **settings: Any) -> Path:
    tifffile.imwrite(path, array, photometric=photometric, **settings)
    return path


def pages(path: Path, bands: np.ndarray) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for band in bands:
            writer.write(band, photometric="minisblack")
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: npy(folder / "a.npy", BANDS),
        lambda folder: npy(folder / "a.npy", BANDS.transpose(1, 2, 0)),
        lambda folder: npy(folder / "a.npy", np.asfortranarray(BANDS)),
        lambda folder: npz(folder / "a.npz", anything=BANDS),
        lambda folder: npz(folder / "a.npz", image=BANDS, mask=BANDS[0]),
        lambda folder: tif(folder / "a.tif", BANDS, planarconfig="separate"),
        lambda folder: tif(folder / "a.tif", BANDS.transpose(1, 2, 0), planarconfig="contig"),
        lambda folder: tif(folder / "a.tif", BANDS.transpose(1, 2, 0), planarconfig="contig", compression="zlib"),
        lambda folder: tif(folder / "a.tif", BANDS.transpose(1, 2, 0), planarconfig="contig", bigtiff=True, byteorder=">"),
        lambda folder: pages(folder / "a.tif", BANDS),
    ],
)
def test_every_file_of_thirteen_bands_gives_the_same_input(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    photo = read(write(tmp_path), 13, "0:10000")
    inputs = input_of(photo, view(13, "0:10000"))
    assert np.allclose(inputs.numpy(), BANDS / 10_000, atol=1e-6)
    assert photo.image.size == (9, 8)
    assert photo.notes == ("values from 0 (black) to 10000 (white)",)


def test_pages_that_are_no_bands_are_pages(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", BANDS[:3])
    photo = read(path, 1, frame=2)
    assert np.allclose(photo.bands, BANDS[2:3] / 65535, atol=1e-6)
    assert photo.frames == 3
    assert "3 pages: page 2 used" in photo.notes


@pytest.mark.parametrize("channels", [1, 3])
def test_twelve_bits_in_sixteen_are_the_copy_of_eight_bits(tmp_path: Path, channels: int) -> None:
    plain = tmp_path / "copy.png"
    Image.fromarray(COPY).save(plain)
    tags = [(281, "H", 1, 4095, True)]
    deep = [
        dicom(tmp_path / "a.dcm", RAMP),
        tif(tmp_path / "a.tif", RAMP, extratags=tags),
        tif(tmp_path / "b.tif", np.stack([RAMP] * 3, axis=-1), "rgb", extratags=tags),
    ]
    sized = view(channels, size=(64, 64))
    wanted = input_of(decode(plain, reading=reading_of(sized)), sized)
    for path in deep:
        assert float((input_of(decode(path, reading=reading_of(sized)), sized) - wanted).abs().max()) <= 1 / 255


def test_a_window_given_replaces_what_a_file_declares(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", RAMP, extratags=[(281, "H", 1, 4095, True)])
    for window, white in (("declared", 4095), ("full", 65535), ("0:2000", 2000)):
        bands = read(path, 1, window).bands
        assert bands is not None
        assert np.allclose(bands[0], np.minimum(RAMP / white, 1), atol=1e-6)


def test_the_eight_bit_picture_of_a_window_is_what_a_colour_network_sees(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    photo = read(tmp_path / "a.png", 3, "0:4095")
    assert np.array_equal(np.asarray(photo.image)[..., 0], COPY)


def test_a_colour_photo_is_its_grey_copy_for_a_network_of_one_channel(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    for name, image in (("a", Image.fromarray(colours)), ("b", Image.fromarray(colours).convert("L"))):
        image.save(tmp_path / f"{name}.png")
    one, other = (input_of(read(tmp_path / f"{name}.png", 1), view(1)) for name in "ab")
    assert one.shape == (1, 8, 9)
    assert one.equal(other)


def test_transparency_is_a_band_of_a_network_of_four(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    inputs = input_of(read(tmp_path / "a.png", 4), view(4))
    assert np.allclose(inputs.numpy(), colours.transpose(2, 0, 1) / 255, atol=1e-6)


def test_dicom_is_rescaled_windowed_and_inverted_as_it_says(tmp_path: Path) -> None:
    units = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": [40.5, 300], "WindowWidth": [401, 1500]}
    plain = read(dicom(tmp_path / "a.dcm", RAMP, **units), 1)
    # PS3.3, C.11.2.1.2: the window runs from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    wanted = ((RAMP * 2.0 - 1024 - (40.5 - 0.5 - 200)) / 400).clip(0, 1)
    assert plain.bands is not None
    assert np.allclose(plain.bands[0], wanted, atol=1e-6)
    inverted = read(dicom(tmp_path / "b.dcm", RAMP, "MONOCHROME1", **units), 1)
    assert inverted.bands is not None
    assert np.allclose(inverted.bands[0], 1 - wanted, atol=1e-6)
    typed = read(tmp_path / "a.dcm", 1, "-100:100")
    assert typed.notes == ("values from -100 (black) to 100 (white)",)


def lut(entries: np.ndarray, first: int, bits: int = 16) -> pydicom.Dataset:
    made = pydicom.Dataset()
    made.LUTDescriptor, made.LUTData = [len(entries), first, bits], entries.astype(np.uint16).tobytes()
    return made


def test_the_tables_of_a_dicom_file_are_applied_as_pydicom_applies_them(tmp_path: Path) -> None:
    bent = (np.arange(1000) ** 2 // 250).astype(np.uint16)
    for name, apply in (("ModalityLUTSequence", apply_modality_lut), ("VOILUTSequence", apply_voi_lut)):
        path = dicom(tmp_path / f"{name}.dcm", RAMP, **{name: [lut(bent, 500)]})
        dataset = pydicom.dcmread(path)
        bands = read(path, 1).bands
        assert bands is not None
        assert np.allclose(bands[0], apply(pixel_array(dataset), dataset) / 65535, atol=1e-6)
    # A window that is typed is of the values before the table of values of interest, and one that the file states is preferred.
    assert read(path, 1, "0:100").notes == ("values from 0 (black) to 100 (white)",)
    stated = dicom(tmp_path / "both.dcm", RAMP, VOILUTSequence=[lut(bent, 500)], WindowCenter=1000.5, WindowWidth=1001)
    assert read(stated, 1).notes == ("values from 500 (black) to 1500 (white)",)


def test_a_table_that_is_too_short_is_refused(tmp_path: Path) -> None:
    broken = lut(np.arange(10), 0)
    broken.LUTDescriptor = [1000, 0, 16]
    with pytest.raises(InputError, match="a DICOM table of 10 entries and 16 bits; expected 1000 entries"):
        read(dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=[broken]), 1)


@pytest.mark.parametrize("window", ["0:2000", "percentile", "full"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_say_that_a_window_changes_nothing(tmp_path: Path, window: str, channels: int) -> None:
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9)
    Image.fromarray(grey).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", npy(tmp_path / "a.npy", grey)):
        plain, windowed = read(path, channels), read(path, channels, window)
        assert plain.notes == ()
        assert windowed.notes == ("values from 0 (black) to 255 (white): of 8 bits, whatever --window says",)
        assert np.allclose(input_of(plain, view(channels)), input_of(windowed, view(channels)), atol=1e-6)


def test_a_frame_of_dicom_is_chosen_and_colours_are_colours(tmp_path: Path) -> None:
    several = dicom(tmp_path / "a.dcm", np.stack([RAMP, RAMP // 2]), NumberOfFrames=2)
    photo = read(several, 1, frame=1)
    assert photo.bands is not None
    assert np.allclose(photo.bands[0], RAMP // 2 / 4095, atol=1e-6)
    assert photo.frames == 2
    colours = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    coloured = read(dicom(tmp_path / "b.dcm", colours, "RGB", 8), 3)
    assert np.array_equal(np.asarray(coloured.image), colours)


def pickled(path: Path) -> Path:
    return npy(path, np.array([{"a": 1}], dtype=object))


def bomb(path: Path) -> Path:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    path.write_bytes(header.getvalue())
    return path


def deflated_past_its_size(path: Path) -> Path:
    tif(path, BANDS.transpose(1, 2, 0), planarconfig="contig", compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        place, field = page.tags[273].valueoffset, page.tags[279].valueoffset
    packed = zlib.compress(bytes(1 << 22))
    start = len(content)
    content[place : place + 4] = start.to_bytes(4, "little")
    content[field : field + 4] = len(packed).to_bytes(4, "little")
    path.write_bytes(bytes(content) + packed)
    return path


def without_pixels(path: Path) -> Path:
    dataset = pydicom.dcmread(dicom(path, RAMP))
    del dataset.PixelData
    dataset.save_as(path)
    return path


def without_a_decoder(path: Path) -> Path:
    dataset = pydicom.dcmread(dicom(path, RAMP))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8abcd"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def two_arrays(path: Path) -> Path:
    return npz(path, one=RAMP, other=RAMP)


def no_array(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", "no array")
    return path


def cut(write: Callable[[Path, np.ndarray], Path], share: float) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        content = write(path, RAMP).read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        return path

    return made


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (pickled, "a.npy", "Python objects, which are not unpickled"),
        (bomb, "a.npy", "in a file that holds"),
        (deflated_past_its_size, "a.tif", "unpacks to more than it says"),
        (without_pixels, "a.dcm", "DICOM file without pixels"),
        (without_a_decoder, "a.dcm", "packed as JPEG-LS.*pip install"),
        (two_arrays, "a.npz", "the arrays one, other; expected one array, or one called image"),
        (no_array, "a.npz", "header is damaged"),
        (cut(npy, 0.5), "a.npy", "in a file that holds"),
        (cut(npy, 0.01), "a.npy", "header is damaged"),
        (cut(dicom, 0.5), "a.dcm", "DICOM data is damaged"),
        (cut(tif, 0.5), "a.tif", "truncated|damaged|bytes"),
        (lambda path: npy(path, np.full((13, 8, 9), np.nan)), "a.npy", "NaN or infinity"),
        (lambda path: npy(path, np.zeros((13, 0, 9))), "a.npy", "shape"),
        (lambda path: npy(path, np.zeros((1, 1, 13, 8, 9))), "a.npy", "shape"),
        (lambda path: npy(path, np.zeros((13, 8, 9), complex)), "a.npy", "complex128"),
        (lambda path: npy(path, np.zeros((8, 9), [("a", "u1")])), "a.npy", "expected an array of numbers"),
        (lambda path: npy(path, np.full((13, 8, 9), -5, np.int16)), "a.npy", "--window"),
        (lambda path: npy(path, np.zeros((4, 8, 9), np.uint8)), "a.npy", "a photo of 4 bands; expected 13"),
        (lambda path: tif(path, BANDS[:5].transpose(1, 2, 0), planarconfig="contig"), "a.tif", "a photo of 5 bands; expected 13"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_its_name(
    tmp_path: Path, write: Callable[[Path], Path], name: str, said: str
) -> None:
    failure = load(Source.of(write(tmp_path / name)), view(13), (255, 255, 255))
    assert isinstance(failure, Failure)
    assert re.search(said, failure.error.line())
    assert name in failure.error.line()


def without_extra_samples(path: Path) -> Path:
    """The file with a private tag in the place of ExtraSamples."""
    field = struct.pack("<HHI", 338, 3, 1)
    content = path.read_bytes()
    assert content.count(field) == 1
    path.write_bytes(content.replace(field, struct.pack("<HHI", 65000, 3, 1)))
    return path


FOUR = np.random.default_rng(2).integers(0, 256, (8, 9, 4), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda path: npy(path, FOUR), "a.npy"),
        (lambda path: npy(path, FOUR.transpose(2, 0, 1)), "a.npy"),
        (lambda path: npy(path, (FOUR / 255).astype(np.float32)), "a.npy"),
        (lambda path: npz(path, image=FOUR.astype(np.uint16)), "a.npz"),
        (lambda path: tif(path, FOUR, planarconfig="contig"), "a.tif"),
        (lambda path: without_extra_samples(tif(path, FOUR, "rgb", extrasamples=["unassalpha"])), "a.tif"),
    ],
)
def test_four_bands_are_no_colours_where_nothing_says_that_the_last_is_transparency(
    tmp_path: Path, write: Callable[[Path], Path], name: str, channels: int
) -> None:
    failure = load(Source.of(write(tmp_path / name)), view(channels), (255, 255, 255))
    assert isinstance(failure, Failure)
    assert re.search(f"{name}: a photo of 4 bands; expected {channels}", failure.error.line())


def test_an_array_of_four_bands_in_memory_is_refused_too() -> None:
    with pytest.raises(InputError, match="a photo of 4 bands; expected 3"):
        input_of(decode(FOUR, reading=reading_of(view(3))), view(3))


def test_transparency_that_a_tiff_declares_is_laid_on_the_background(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", FOUR, "rgb", extrasamples=["unassalpha"])
    assert input_of(read(path, 3), view(3)).shape == (3, 8, 9)
    assert read(path, 3).notes == ("transparent parts laid on 255,255,255",)


def test_transparency_beside_floats_in_a_tiff_is_left_out_and_said(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", (FOUR / 255).astype(np.float32), "rgb", extrasamples=["unassalpha"])
    assert np.allclose(input_of(read(path, 3), view(3)), FOUR[..., :3].transpose(2, 0, 1) / 255, atol=1e-6)
    assert "transparency left out" in read(path, 3).notes
    assert input_of(read(path, 4), view(4)).shape == (4, 8, 9)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (3, 8, 9)])
@pytest.mark.parametrize(("number", "wanted"), [(np.uint16(77), 77 / 65535), (np.float32(0.3 / 255), 0.3 / 255)])
def test_arrays_of_more_than_8_bits_reach_a_network_of_three_channels_as_they_are(
    tmp_path: Path, shape: tuple[int, ...], number: Any, wanted: float
) -> None:
    array = np.full(shape, number)
    of_file = input_of(read(npy(tmp_path / "a.npy", array), 3), view(3))
    in_memory = input_of(decode(array, reading=reading_of(view(3))), view(3))
    assert np.allclose(of_file, wanted, rtol=1e-5, atol=0)
    assert np.array_equal(of_file, in_memory)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_that_become_8_are_said_and_the_window_that_is_named_keeps_all(tmp_path: Path, ending: str, colour: bool) -> None:
    grey = np.full((8, 9), 77, np.uint16)
    path = tmp_path / f"a{ending}"
    if ending == ".tif":
        tif(path, np.dstack([grey] * 3) if colour else grey, "rgb" if colour else "minisblack")
    elif colour:
        deep_png(path, np.dstack([grey] * 3))
    else:
        Image.fromarray(grey).save(path)
    said = "values from 0 (black) to 65535 (white), as 8 bits; --window 0:65535 keeps all bits"
    assert said in read(path, 3).notes
    windowed = view(3, "0:65535")
    assert np.allclose(input_of(decode(path, reading=reading_of(windowed)), windowed), 77 / 65535, rtol=1e-5, atol=0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "uint64", "float16", "float32", "float64"])
def test_a_tiff_of_any_numbers_is_read_as_its_array(tmp_path: Path, kind: str, photometric: str, order: Any) -> None:
    """Of some of them Pillow says that the file is damaged, others it reads in another way."""
    array = (np.linspace(0, 100, 8 * 9 * 3).reshape(8, 9, 3)[..., : 3 if photometric == "rgb" else 1].squeeze()).astype(kind)
    photo = read(tif(tmp_path / "a.tif", array, photometric, byteorder=order), 3, "0:100")
    wanted = read(npy(tmp_path / "a.npy", 100 - array if photometric == "miniswhite" else array), 3, "0:100")
    assert photo.bands is not None
    assert wanted.bands is not None
    assert np.allclose(photo.bands, wanted.bands, atol=1e-3 if kind == "float16" else 1e-6)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "write",
    [
        lambda folder, array: npy(folder / "a.npy", array),
        lambda folder, array: tif(folder / "a.tif", array, "rgb" if array.shape[2] == 3 else "minisblack", planarconfig="contig"),
    ],
)
def test_signed_colours_are_refused_with_the_window_to_type(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Path], channels: int
) -> None:
    array = np.linspace(-1000, 3000, 72 * channels).astype(np.int16).reshape(8, 9, channels)
    failure = load(Source.of(write(tmp_path, array)), view(channels), (255, 255, 255))
    assert isinstance(failure, Failure)
    assert "Give --window -1000:3000" in failure.error.line()
    windowed = view(channels, "-1000:3000")
    inputs = input_of(decode(write(tmp_path, array), reading=reading_of(windowed)), windowed)
    assert np.allclose(inputs, (array.transpose(2, 0, 1) + 1000) / 4000, atol=1e-6)


def test_an_archive_without_arrays_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no array in it"):
        read(npz(tmp_path / "none.npz"), 3)


@pytest.mark.filterwarnings("ignore")
def test_no_photo_of_numbers_ends_in_anything_but_one_line(tmp_path: Path) -> None:
    whole = {
        "a.npy": npy(tmp_path / "a.npy", BANDS),
        "a.npz": npz(tmp_path / "a.npz", image=BANDS),
        "a.tif": tif(tmp_path / "a.tif", BANDS.transpose(1, 2, 0), planarconfig="contig", compression="zlib"),
        "a.dcm": dicom(tmp_path / "a.dcm", RAMP),
    }
    draw = np.random.default_rng(3)
    for name, path in whole.items():
        content = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content[: int(draw.integers(1, len(content) + 1))])
            for place in draw.integers(0, min(len(damaged), 700), 3):
                damaged[place] ^= 1 << int(draw.integers(8))
            (tmp_path / "damaged" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "damaged" / name).write_bytes(bytes(damaged))
            item = load(Source.of(tmp_path / "damaged" / name), view(13, "percentile"), (255, 255, 255))
            if isinstance(item, Failure):
                assert name in item.error.line()


def deep_png(path: Path, colours: np.ndarray, bits: int | None = None) -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, bands = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    stated = b"" if bits is None else chunk(b"sBIT", bytes([bits] * bands))
    path.write_bytes(MAGIC + chunk(b"IHDR", header) + stated + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def test_colours_of_16_bits_in_a_png_keep_all_bits_under_a_window_and_where_12_are_declared(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 4096, (8, 9, 3))
    wanted = (colours / 4095).transpose(2, 0, 1)
    for path, window in (
        (deep_png(tmp_path / "a.png", colours), "0:4095"),
        (deep_png(tmp_path / "b.png", colours, 12), "declared"),
        (deep_png(tmp_path / "c.png", np.dstack([colours, colours[..., :1]])), "0:4095"),
    ):
        assert np.allclose(input_of(read(path, 3, window), view(3)).numpy(), wanted, atol=1e-6)
    plain = read(deep_png(tmp_path / "d.png", colours * 16), 3)
    assert plain.bands is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_png_of_16_bit_colours_that_is_cut_short_is_one_line(tmp_path: Path, share: float) -> None:
    content = deep_png(tmp_path / "a.png", np.random.default_rng(1).integers(0, 4096, (40, 40, 3))).read_bytes()
    (tmp_path / "a.png").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"a\.png"):
        read(tmp_path / "a.png", 3, "0:4095")


def test_a_header_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    header = b"\0\0\0\rIHDR" + (1 << 20).to_bytes(4, "big") * 2 + b"\x10\x02\0\0\0" + bytes(4)
    (tmp_path / "a.png").write_bytes(MAGIC + header)
    with pytest.raises(InputError, match=r"a\.png.*1048576 x 1048576 pixels"):
        read(tmp_path / "a.png", 3, "0:4095")
