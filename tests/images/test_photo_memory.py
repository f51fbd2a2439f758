"""Large photos of numbers in a process of their own: explained below 1.5 GiB of memory, or refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

BAR = 3 << 29
SIDES = 5480, 8220
"""45 megapixels."""
CHANNELS = """
import torch, xaicli
def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(13, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return xaicli.classifier(net.eval(), resize=64, crop=64, mean=[0.5] * 13, std=[0.5] * 13)
"""


def numbers(shape, kind):
    """Numbers that need all their bits, in little memory: a row, shifted."""
    made = np.empty(shape, kind)
    row = np.random.default_rng(0).random(made[0].size).reshape(made[0].shape)
    row = (row * 65535).astype(kind) if kind == np.uint16 else row.astype(kind)
    for at in range(len(made)):
        made[at] = np.roll(row, 37 * at, axis=-1 if made.ndim == 2 else 0)
    return made


def colour_tiff(path: Path, **words) -> Path:
    import tifffile

    tifffile.imwrite(path, numbers((*SIDES, 3), np.uint16), photometric="rgb", **words)
    return path


def many_bands(path: Path) -> Path:
    import tifffile

    tifffile.imwrite(path, numbers((13, 3000, 3600), np.uint16), photometric="minisblack", planarconfig="separate")
    return path


def floats(path: Path) -> Path:
    np.save(path, numbers((*SIDES, 3), np.float32))
    return path


def frames(path: Path) -> Path:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3000, 4000, 10
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = numbers((10 * 3000, 4000), np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


ACCEPTED = {
    "colours of 16 bits, 45 megapixels": ("photo.tif", colour_tiff, ()),
    "the same in planes": ("planes.tif", lambda path: colour_tiff(path, planarconfig="contig", rowsperstrip=64), ()),
    "thirteen bands of 16 bits": ("bands.tif", many_bands, ("--model", "net.py:make")),
    "colours as floats, 45 megapixels": ("photo.npy", floats, ()),
    "a film of 10 frames, DICOM": ("film.dcm", frames, ()),
}


MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
"""Between this process and the command: a new process counts the memory of the one that starts it as its own."""


def explained(photo: Path, *words: str) -> tuple[int, str, int]:
    """Exit code, errors, and the most memory in bytes."""
    command = [sys.executable, "-m", "xaicli.cli.main", "explain", photo.name, "--method", "grad-cam", "-q", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=photo.parent, env=environment, capture_output=True, text=True, check=True
    )
    code, most = map(int, ended.stdout.split())
    return code, ended.stderr, most


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_large_photo_of_numbers_stays_below_the_bar_of_memory(what, tmp_path):
    name, write, words = ACCEPTED[what]
    (tmp_path / "net.py").write_text(CHANNELS)
    code, errors, most = explained(write(tmp_path / name), *words)
    assert (code, errors.partition("error")[2]) == (0, "")
    print(f"{what}: {most / 2**20:.0f} MiB")
    assert most < BAR


def test_what_cannot_fit_is_refused_in_one_line_before_it_is_decoded(tmp_path):
    path = tmp_path / "photo.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (10_000, 10_000, 3)).flush()
    os.truncate(path, path.stat().st_size)
    code, errors, most = explained(path)
    assert code == 3
    assert "MiB" in errors
    assert errors.count("\n") == 1
    assert most < BAR
