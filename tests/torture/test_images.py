"""Damaged photos of every format: each is explained or refused in one line with its name, in time and within memory."""

from __future__ import annotations

import io
import resource
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.cbook
import pytest
from PIL import Image
from torture.attacks import damaged
from torture.tally import Tally

from xaicli.images.decode import FORMATS
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs.photos import Failure, load

pytestmark = pytest.mark.torture
SLOWEST = 10.0
"""Seconds a photo."""
LARGEST = 1536 << 20
"""Bytes that the process may grow by."""


def photo(form: str) -> bytes:
    """A real photo, small, in a format."""
    sample = Path(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    with Image.open(sample) as image:
        small = image.convert("RGB").resize((96, 112))
    stream = io.BytesIO()
    options = {"JPEG": {"progressive": True, "exif": Image.Exif()}, "TIFF": {"compression": "tiff_lzw"}}
    small.save(stream, form, **options.get(form, {}))
    return stream.getvalue()


@pytest.mark.parametrize("form", [form for form in FORMATS if form])
def test_damaged_photos_are_explained_or_refused_in_one_line(
    form: str, amount: Callable[[int, int], int], tmp_path: Path
) -> None:
    tally = Tally(f"damaged {form} photos")
    path, view = tmp_path / "photo.img", View()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for what, content in damaged(photo(form), amount(60, 1250), seed=21):
        path.write_bytes(content)
        start = time.monotonic()
        result = load(Source.of_file(path), view, (255, 255, 255))
        seconds = time.monotonic() - start
        assert seconds < SLOWEST, what
        line = ""
        if isinstance(result, Failure):
            line = result.error.line()
            assert "photo.img" in line, what
            assert "\n" not in line, what
        tally.count("refused" if line else "explained", seconds, line.replace(str(tmp_path), ""))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < LARGEST
    tally.keep()
