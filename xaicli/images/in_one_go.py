"""Decoders that work in one go, so that no clock of ours can stop them: a large photo is tried first in a process of its own.

That process is ended when its time is up.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

from PIL import Image

from xaicli.images.decode_limits import OutOfTime, Timed

MANY = 1 << 25
"""Pixels. Fewer take about a second."""
SHARE = 1 / 2
"""Of the photo's time: when it fits, the photo is decoded again, here."""

FORMATS = ("WEBP", "AVIF")
PICTURE = """
import io, sys
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
image = Image.open(io.BytesIO(sys.stdin.buffer.read()))
image.seek(int(sys.argv[1]))
image.load()
"""
DICOM = """
import io, sys
import pydicom, pydicom.pixels
pydicom.pixels.pixel_array(pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read())), index=int(sys.argv[1]))
"""

TIFF = """
import io, sys
import tifffile
tifffile.TiffFile(io.BytesIO(sys.stdin.buffer.read())).pages[int(sys.argv[1])].asarray(maxworkers=1)
"""


def try_picture(image: Image.Image, content: bytes, frame: int, timed: Timed) -> None:
    """Raise OutOfTime for a picture, read as far as its header, that takes too long to decode in one go."""
    if image.format in FORMATS and image.width * image.height > MANY:
        try_apart(PICTURE, content, frame, timed)


def try_apart(code: str, content: bytes, frame: int, timed: Timed) -> None:
    """Run code in a process of its own, with a photo's bytes as its input; raises OutOfTime where it takes too long.

    Whatever else it ends with is found when the photo is decoded.
    """
    timed.check()
    command = [sys.executable, "-I", "-c", code, str(frame)]
    with contextlib.suppress(OSError):
        try:
            subprocess.run(
                command,
                input=content,
                timeout=timed.left * SHARE,
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise OutOfTime from error
