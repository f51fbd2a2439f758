"""Pictures as files: written whole or not at all, with metadata that says that xai wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xaicli.claims import MARK
from xaicli.files import write_atomic

COMPRESSION = 1
"""PNG compression, 0 to 9: an overlay takes a third of the time of level 6, the usual one (`python -m benchmarks
explain-folder`)."""


def write_png(path: Path, picture: Image.Image, mark: str = MARK) -> None:
    """Write a PNG; raises InputError if the folder or disk refuses it. mark: begins with that of all our pictures."""
    write_atomic(path, lambda file: save_png(picture, file, mark))


def save_png(picture: Image.Image, file: IO[bytes], mark: str = MARK) -> None:
    """Write a PNG into an open file."""
    info = PngInfo()
    info.add_text("Software", mark)
    picture.save(file, "PNG", pnginfo=info, compress_level=COMPRESSION)
