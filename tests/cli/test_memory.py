"""The memory of a whole command, measured by the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = (sys.executable, "-m", "xaicli.cli.main", "explain", "--model", "tiny", "--method", "grad-cam", "-q")
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process between: Linux counts what the parent of a process takes as that process's own, until it runs its program."""
LARGEST_GROWTH = 600 << 20
"""Bytes. Photos may take 320 MiB, and what is made of them takes some more; without a limit eight photos took 950 MiB."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")]


def peak_of(photos: Path, output: Path, *words: str) -> int:
    """The most bytes of memory that the command took."""
    line = [sys.executable, "-c", MEASURED, *COMMAND, str(photos), "-o", str(output), *words]
    return int(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout) << 10


@pytest.fixture
def small(tmp_path: Path) -> int:
    """The peak with one small photo."""
    (tmp_path / "small").mkdir()
    Image.new("RGB", (64, 48), (90, 120, 40)).save(tmp_path / "small" / "a.png")
    return peak_of(tmp_path / "small", tmp_path / "of small")


def test_many_large_photos_take_little_more_memory_than_a_small_one(tmp_path: Path, small: int) -> None:
    (tmp_path / "large").mkdir()
    coarse = np.random.default_rng(5).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    photo = Image.fromarray(coarse).resize((6000, 4000), Image.Resampling.BICUBIC)
    for number in range(8):
        photo.save(tmp_path / "large" / f"{number}.jpg", quality=80, comment=f"photo {number}")
    assert peak_of(tmp_path / "large", tmp_path / "of large") - small < LARGEST_GROWTH


def test_a_photo_of_a_hundred_and_seventy_megapixels_fits_too(tmp_path: Path, small: int) -> None:
    (tmp_path / "huge").mkdir()
    Image.linear_gradient("L").resize((13_000, 13_000)).convert("P").save(tmp_path / "huge" / "a.gif")
    assert peak_of(tmp_path / "huge", tmp_path / "of huge") - small < LARGEST_GROWTH


def test_the_largest_colour_photo_that_is_taken_stays_below_a_gibibyte_and_a_half(tmp_path: Path) -> None:
    (tmp_path / "huge").mkdir()
    Image.linear_gradient("L").resize((13_376, 13_376)).convert("RGB").save(tmp_path / "huge" / "a.jpg")
    assert peak_of(tmp_path / "huge", tmp_path / "out", "--decode-timeout", "100") < 1536 << 20


def test_contours_on_a_large_photo_take_little_more_than_colours(tmp_path: Path, small: int) -> None:
    (tmp_path / "large").mkdir()
    Image.linear_gradient("L").resize((8_190, 8_190)).convert("RGB").save(tmp_path / "large" / "a.jpg")
    colours = peak_of(tmp_path / "large", tmp_path / "heat")
    assert peak_of(tmp_path / "large", tmp_path / "contour", "--look", "contour") - colours < 100 << 20
