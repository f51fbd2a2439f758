"""Pictures of before, after and difference for the photos that a failing rule names first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xaicli.claims import claim
from xaicli.gate.measure import ReadySuite
from xaicli.gate.outcome import Outcome
from xaicli.images.colour import Floats, Scale
from xaicli.images.names import safe_label, stems
from xaicli.images.photo_input import picture_of_photo
from xaicli.images.picture_file import write_png
from xaicli.images.sheet import SheetCell, SheetRow, sheet
from xaicli.passes.upsampling import upsample
from xaicli.sign import Sign
from xaicli.targets import TargetRule
from xaicli.untrusted import is_folder

ENDING = ".xai-check.png"
LEAST_COLOURS = 1 / 2
"""The share of the colours that each map must span for both to be drawn on one scale."""


def draw_failures(ready: ReadySuite, outcome: Outcome, folder: Path) -> list[Path]:
    """Draw one picture per photo and method, `STEM.LABEL.xai-check.png`, and remove those of an earlier check.

    Raises InputError if the folder cannot be written to.
    """
    for old in pictures_in(folder):
        old.unlink(missing_ok=True)
    named = stems(list(dict.fromkeys(outcome.sources)))
    paths = []
    for at, label in outcome.to_look_at:
        path = folder / f"{named[outcome.sources[at]].replace('/', '-')}.{safe_label(label)}{ENDING}"
        picture = draw(ready, outcome, at, label)
        write_png(path, picture)
        paths.append(path)
    return paths


def claim_pictures(folder: Path, page: str, inputs: Iterable[Path | None]) -> None:
    """Raise UsageError, before any work, where a picture of a check or its page would replace a file of others, or an input."""
    if not is_folder(folder):
        return
    inputs = list(inputs)
    for path in (*pictures_in(folder), folder / page):
        claim(path, inputs)


def pictures_in(folder: Path) -> list[Path]:
    """What is called as the pictures of a check are."""
    return sorted(folder.glob(f"*{ENDING}")) if is_folder(folder) else []


def draw(ready: ReadySuite, outcome: Outcome, at: int, label: str) -> Image.Image:
    """The photo, both maps, and their difference; maps on scales of their own are subtracted as shares of these."""
    before, after = outcome.baseline.photos[at].maps[label], outcome.now[at].maps[label]
    sign = next(method.sign for method in ready.methods if method.label == label)
    if min(before.min(), after.min()) < 0:
        # For a contrast, a non-negative method gives a difference of two maps, which has both signs.
        sign = Sign.SIGNED
    size, source = ready.classifier.view.size, outcome.sources[at]
    scales, title = scales_of(before, after, sign), f"{label} on {ready.classifier.name}"
    pair: tuple[Floats, Floats] = before, after
    if scales[0] != scales[1]:
        title += "; each map on its own scale, since their ranges differ; the difference is of shares of these"
        pair = shares(before, scales[0], sign), shares(after, scales[1], sign)
    old, new = (upsample(torch.from_numpy(np.ascontiguousarray(values))[None], size)[0].numpy() for values in pair)
    photo = picture_of_photo(source, ready.classifier.view)
    columns = first, second, difference = outcome.sides.before, outcome.sides.after, "difference"
    old_marks, new_marks = (one.marks(photo.size) for one in (outcome.baseline.photos[at], outcome.now[at]))
    cells = {
        first: SheetCell(before, sign, marks=old_marks),
        second: SheetCell(after, sign, marks=new_marks),
        difference: SheetCell(new - old, Sign.SIGNED, marks=new_marks),
    }
    drawn = {first: scales[0], second: scales[1], difference: scale_of_difference(*pair, new - old)}
    name = in_words(outcome.now[at].target, ready)
    row = SheetRow(photo, ready.classifier.view.geometry(*photo.size), source.name, (name,), cells)
    return sheet([row], columns, scales=drawn, title=title)


def scales_of(before: Floats, after: Floats, sign: Sign) -> tuple[Scale, Scale]:
    """One scale for both maps, or one for each where the smaller would be too pale to see: rules compare ranks, not sizes.

    A constant map has nothing to see, and leaves one scale.
    """
    common = Scale.of([before, after], sign)
    first, second = (Scale.of([values], sign) for values in (before, after))
    least = min(scale.high - scale.low for scale in (first, second))
    return (first, second) if 0 < least < LEAST_COLOURS * (common.high - common.low) else (common, common)


def shares(values: Floats, scale: Scale, sign: Sign) -> Floats:
    """Where values lie on a scale: 0 to 1, of signed maps -1 to 1."""
    fractions = scale.fractions(values)
    return 2 * fractions - 1 if sign is Sign.SIGNED else fractions


def scale_of_difference(before: Floats, after: Floats, difference: Floats) -> Scale:
    """A range about 0 that holds both maps too, so that rounding does not look like a change."""
    return Scale.of([before, after, difference], Sign.SIGNED)


def in_words(target: str, ready: ReadySuite) -> str:
    """A resolved target with the names of its classes; a box of a detector as it is."""
    rule = TargetRule.of_name(target)
    return target if rule.boxes else rule.shown(ready.classifier.class_name) + rule.place
