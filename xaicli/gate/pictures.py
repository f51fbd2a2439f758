"""Before, after and difference of the photos that a failing rule names first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xaicli.compute.upsampling import upsample
from xaicli.files import write_atomic
from xaicli.gate.check import Outcome, worst_photos
from xaicli.gate.measure import Bench
from xaicli.images.colour import Scale
from xaicli.images.decode import decode
from xaicli.images.names import safe_label, stems
from xaicli.images.sheet import Cell, Row, sheet
from xaicli.images.source import Source
from xaicli.method import Sign

PHOTOS_A_RULE = 3
COLUMNS = ("before", "after", "difference")


def draw_failures(bench: Bench, outcome: Outcome, folder: Path) -> list[Path]:
    """One picture a photo and method, `STEM.LABEL.png`; pictures of an earlier check are removed."""
    for old in folder.glob("*.png"):
        old.unlink()
    sources = {(photo.image): source for photo, source in zip(outcome.now, ordered_sources(bench, outcome), strict=True)}
    named = stems(list(dict.fromkeys(sources.values())))
    paths = []
    for at, label in worst_photos(outcome, PHOTOS_A_RULE):
        source = sources[outcome.now[at].image]
        path = folder / f"{named[source].replace('/', '-')}.{safe_label(label)}.png"
        picture = draw(bench, outcome, at, label, source)
        write_atomic(path, lambda file, picture=picture: picture.save(file, "PNG"))  # type: ignore[misc]
        paths.append(path)
    return paths


def ordered_sources(bench: Bench, outcome: Outcome) -> Sequence[Source]:
    by_path = {source.path: source for source in bench.sources}
    return [by_path[photo.image] for photo in outcome.now]


def draw(bench: Bench, outcome: Outcome, at: int, label: str, source: Source) -> Image.Image:
    """The photo, both maps on one scale, and their difference."""
    before, after = outcome.baseline.photos[at].maps[label], outcome.now[at].maps[label]
    sign = next(method.sign for method in bench.methods if method.label == label)
    size = bench.classifier.view.size
    old, new = (upsample(torch.from_numpy(np.ascontiguousarray(values))[None], size)[0].numpy() for values in (before, after))
    scale = Scale.of([before, after], sign)
    photo = decode(source, frame=source.frame)
    cells = {"before": Cell(before, sign), "after": Cell(after, sign), "difference": Cell(new - old, Sign.SIGNED)}
    target = bench.classifier.class_name(int(outcome.now[at].target.split("-")[0]))
    row = Row(photo.image, bench.classifier.view.geometry(*photo.image.size), source.name, (target,), cells)
    scales = {"before": scale, "after": scale, "difference": Scale.of([new - old], Sign.SIGNED)}
    return sheet([row], COLUMNS, scales=scales, title=f"{label} on {bench.classifier.name}")
