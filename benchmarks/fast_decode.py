"""`--fast-decode`: what it saves of loading a large JPEG, and of a whole `xai explain`, and how far it moves the input."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from PIL import Image

import xaicli
from benchmarks.figures import Figure
from benchmarks.networks import assets
from benchmarks.timing import ratios
from xaicli.images.find import find
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs.photos import Failure, load

SIZE = (4032, 3024)
"""Width and height of what a telephone takes."""
WHITE = (255, 255, 255)
LEVELS = 255


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "large.jpg"
        mosaic().save(path, quality=92)
        whole = View()
        fast = dataclasses.replace(whole, fast_decode=True)
        source = Source(str(path))
        words = f"a JPEG of {SIZE[0]} x {SIZE[1]}"
        loading, by_fast = ratios(lambda: load(source, whole, WHITE), lambda: load(source, fast, WHITE), rounds)
        networks = [xaicli.load_classifier("tiny", fast_decode=smaller) for smaller in (False, True)]

        def explained(smaller: bool) -> None:
            xaicli.explain(str(path), networks[smaller], "grad-cam", output=Path(place) / f"out-{smaller}", overwrite=True)

        explaining, _ = ratios(lambda: explained(False), lambda: explained(True), rounds)
        return [
            Figure(f"loading {words} for an input of 224, whole over --fast-decode", "times as long", tuple(loading)),
            Figure(f"loading {words}, --fast-decode", "ms", tuple(1000 * seconds for seconds in by_fast)),
            Figure(f"Grad-CAM of {words} and its overlay, whole over --fast-decode", "times as long", tuple(explaining)),
            Figure("difference of the inputs, mean", "levels of 255", (moved(source, whole, fast),), 2.0),
        ]


def mosaic() -> Image.Image:
    """Photos side by side: as many details as a large photo has."""
    files = sorted((assets() / "photos").glob("*.jpg")) or [found.file for found in find(["sample:hopper"]) if found.file]
    canvas = Image.new("RGB", SIZE)
    with_sides = (504, 378)
    for number in range((SIZE[0] // with_sides[0]) * (SIZE[1] // with_sides[1])):
        row, column = divmod(number, SIZE[0] // with_sides[0])
        with Image.open(files[number % len(files)]) as photo:
            tile = photo.convert("RGB").resize(with_sides, Image.Resampling.LANCZOS)
        canvas.paste(tile, (column * with_sides[0], row * with_sides[1]))
    return canvas


def moved(source: Source, whole: View, fast: View) -> float:
    """The mean difference of two inputs, in levels of the photo."""
    pixels = []
    for view in (whole, fast):
        found = load(source, view, WHITE)
        assert not isinstance(found, Failure)
        pixels.append(view.pixels(found.input))
    return float((pixels[0] - pixels[1]).abs().mean()) * LEVELS
