"""A film of twelve frames: `python -m docs.film` draws docs/frames.md's picture, with the network of docs/video.py.

`film()` gives the frames, a ball that rolls over the sample photo and is red for three of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.cbook
from PIL import Image, ImageDraw

from docs import video
from xaicli.cli.main import main as xai

COUNT, RED = 12, (5, 6, 7)
SIDES = 192, 144
PICTURES = Path(__file__).parent / "pictures"


def film() -> list[Image.Image]:
    """The frames; no two are alike, since a GIF joins those that are."""
    with Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))) as photo:
        still = (
            photo.convert("RGB").resize((SIDES[0], SIDES[0] * photo.height // photo.width)).crop((0, 20, SIDES[0], 20 + SIDES[1]))
        )
    frames = []
    for number in range(COUNT):
        frame = still.copy()
        left = 16 * number - 18
        colour = (230, 20, 20) if number in RED else (40, 90, 200)
        ImageDraw.Draw(frame).ellipse((left, 84, left + 36, 120), fill=colour, outline=(0, 0, 0))
        frames.append(frame)
    return frames


def main(work: Path = Path("xai-out/film")) -> int:
    work.mkdir(parents=True, exist_ok=True)
    first, *others = film()
    first.save(work / "film.gif", save_all=True, append_images=others, duration=120)
    words = ["--model", f"{video.__file__}:make", "--method", "winit", "--steps", "--overwrite", "-q", "-o", str(work)]
    code = xai(["explain", str(work / "film.gif"), *words])
    if code == 0:
        with Image.open(work / "film.winit.steps.png") as strip:
            strip.convert("RGB").save(PICTURES / "winit.jpg", quality=88, optimize=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
