"""Pictures as files: whole or not at all, and with a word inside that says who wrote them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xaicli.claims import MARK
from xaicli.files import write_atomic


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a PNG; raises InputError where the folder or the disk does not take it."""
    told = PngInfo()
    told.add_text("Software", MARK)
    write_atomic(path, lambda file: picture.save(file, "PNG", pnginfo=told))
