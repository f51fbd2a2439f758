"""What `xai explain` does with a photo beside the network: how often it is read and recorded, how long its overlay takes."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

import xaicli
from benchmarks.figures import Figure
from benchmarks.timing import ratios
from xaicli import attribution
from xaicli.images import photo_input, picture_file
from xaicli.images.find import find
from xaicli.runs import folder, photos, sheet_pictures

PHOTOS, SIDE = 4, 1600
USUAL = 6
"""The level of compression that PNG writers take by themselves."""
FASTER = 2.0
ALL = {"score": True, "metric": "insertion@steps=4", "sheet": True, "steps": True}


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        listed = some_photos(work / "photos")
        figures = []
        for scale, most in (("image", 1), ("shared", 2)):
            with counted() as calls:
                made = xaicli.explain(listed, "tiny-vit", "daam,grad-cam", output=work / scale, scale=scale, **ALL)
            words = f"--score --sheet --steps --scale {scale}:"
            figures.append(Figure(f"{words} decodes a photo", "", (calls["decode"] / len(listed),), most))
            figures.append(Figure(f"{words} writes of a record", "", (calls["record"] / len(made),), most))
        [overlay, *_] = [Image.open(path) for path in sorted((work / "image").glob("*.daam.png"))]
        return [*figures, *compressed(overlay.convert("RGB"), rounds)]


def some_photos(folder: Path) -> list[str]:
    """The sample at some size, each copy a little darker than the one before."""
    folder.mkdir()
    [sample] = find(["sample:hopper"])
    with Image.open(str(sample.file)) as opened:
        photo = opened.convert("RGB").resize((SIDE, SIDE * opened.height // opened.width), Image.Resampling.BICUBIC)
    for number in range(PHOTOS):
        photo.point(lambda value, less=number: max(0, value - less)).save(folder / f"{number}.jpg", quality=95)
    return [str(path) for path in sorted(folder.iterdir())]


def compressed(overlay: Image.Image, rounds: int) -> list[Figure]:
    """Writing an overlay at our level of compression and at the usual one."""
    sizes: dict[int, int] = {}

    def at(level: int) -> Callable[[], None]:
        def write() -> None:
            buffer = io.BytesIO()
            with mock.patch.object(picture_file, "COMPRESSION", level):
                picture_file.save_png(overlay, buffer)
            sizes[level] = len(buffer.getvalue())

        return write

    ratio, usual = ratios(at(picture_file.COMPRESSION), at(USUAL), rounds)
    ours = tuple(1000 * one * other for one, other in zip(ratio, usual, strict=True))
    words = f"an overlay of {overlay.width} x {overlay.height}"
    return [
        Figure(f"writing {words}, compression {picture_file.COMPRESSION}", "ms", ours),
        Figure(f"writing {words}, compression {USUAL}", "ms", tuple(1000 * time for time in usual)),
        Figure("the one over the other", "", tuple(ratio), 1 / FASTER),
        Figure("size of the file, the one over the other", "", (sizes[picture_file.COMPRESSION] / sizes[USUAL],)),
    ]


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often photos are decoded and records written meanwhile."""
    calls: Counter[str] = Counter()

    def decoding(function: Callable[..., Any]) -> Callable[..., Any]:
        def decode(*args: Any, **kwargs: Any) -> Any:
            calls["decode"] += 1
            return function(*args, **kwargs)

        return decode

    def writing(function: Callable[..., Any]) -> Callable[..., Any]:
        def write(path: Path, content: Any) -> Any:
            calls["record"] += path.suffix == ".json"
            return function(path, content)

        return write

    with ExitStack() as patches:
        for module in (photos, photo_input):
            patches.enter_context(mock.patch.object(module, "decode", decoding(module.decode)))
        for module in (attribution, folder, sheet_pictures):
            patches.enter_context(mock.patch.object(module, "write_atomic", writing(module.write_atomic)))
        yield calls
