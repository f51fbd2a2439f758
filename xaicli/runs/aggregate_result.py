"""The result of an aggregate: a table, sentences, a picture per method, a page, and all numbers as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from xaicli.errors import XaiError
from xaicli.files import write_atomic
from xaicli.images.grid_picture import grid_picture
from xaicli.images.names import safe_label
from xaicli.images.picture_file import write_png
from xaicli.images.text import line_height, write
from xaicli.results.report.sections import PagePicture, PictureGroup, Section, table_rows, write_sections
from xaicli.survey.aggregates import MapAggregate
from xaicli.survey.finding import rounded
from xaicli.survey.locality import separability
from xaicli.survey.map_grids import Floats
from xaicli.tabular import Tabular
from xaicli.text_table import rendered
from xaicli.words import count
from xaicli.writable_text import json_text

ALL = "(all)"
PAGE, FILE = "aggregate.html", "aggregate.json"
COLUMNS = ("method", "class", "photos", "zero", "position", "single", "radius", "near", "spread")
OBJECT_COLUMNS = ("object radius", "object near", "on object", "area", "channels", "decay")
SHOWN = 24
"""Classes on a picture and on the page, those with most photos."""
SIDE, GAP, SIZE = 160, 10, 13
TALL = 8
"""Rows of a picture before a further block begins."""
CENTRAL = 0.8
"""From this rank correlation with `center` on, a mean map is said to lie in the middle."""
ABOUT = (
    "Mean magnitude of the maps, its standard deviation over photos, and the mean after each photo's object was moved to the "
    "middle. position: rank correlation of the mean map with the control center; single: that of single maps on average.",
    "radius: mean distance from the middle, in sides (0.38 of an even map); near: share within a quarter of the side (0.20). "
    "spread: standard deviation over mean. on object: share of the map on the marked object, whose share of the view is area.",
)


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate(Tabular):
    """Statistics of the maps, by method and class: `groups["grad-cam", "(all)"].absolute.mean` is a mean map.

    normalize: whether each map was divided by its mean magnitude; plan: of a dry run, what would be made.
    """

    groups: dict[tuple[str, str], MapAggregate] = field(default_factory=dict)
    model: str = ""
    normalize: bool = False
    errors: tuple[XaiError, ...] = ()
    plan: list[dict[str, Any]] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        return self.plan or [group.record() for method in self.methods for group in self.of(method)]

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _ in self.groups))

    def of(self, method: str) -> list[MapAggregate]:
        """The groups of a method: all photos, then its classes, those with most photos first."""
        mine = [group for (label, _), group in self.groups.items() if label == method]
        return sorted(mine, key=lambda group: (group.target != ALL, -group.n, group.target))

    @property
    def shown(self) -> list[str]:
        if self.plan:
            return list(self.plan[0])
        return [*COLUMNS, *(name for name in OBJECT_COLUMNS if any(row.get(name) is not None for row in self.rows))]

    @cached_property
    def sentences(self) -> list[str]:
        """What the numbers say, in words."""
        lines = []
        for method in self.methods:
            every, *classes = self.of(method)
            row = every.record()
            if (row.get("position") or 0) >= CENTRAL:
                lines.append(f"{method}: the mean map ranks as center does ({row['position']:.2f}): it lies in the middle.")
            if row.get("on object") is not None:
                lines.append(f"{method}: {row['on object']:.2f} of the map lies on the object, which covers {row['area']:.2f}.")
            profiles = [profile for group in classes if (profile := group.profile) is not None]
            if len(profiles) > 1:
                lines.append(f"{method}: shares of channels differ by at most {separability(profiles):.3f} from class to class.")
        return lines

    def render(self, format: str = "table", *, width: int = 0) -> str:
        if format != "table" or self.plan:
            return super().render(format, width=width)
        parts = [rendered(self.table_rows, "table", self.shown, width=width), "\n".join([*self.left_out, *self.sentences])]
        return "\n\n".join(part for part in parts if part)

    @property
    def table_rows(self) -> list[dict[str, Any]]:
        """The records of the classes with most photos."""
        return [group.record() for method in self.methods for group in self.of(method)[:SHOWN]]

    @property
    def left_out(self) -> list[str]:
        more = max((len(self.of(method)) for method in self.methods), default=0) - SHOWN
        return [f"{count(more, 'class', 'classes')} with fewer photos left out (--format json has all)."] if more > 0 else []

    def __repr__(self) -> str:
        return f"Aggregate({count(len(self.groups), 'group')})"


def picture_name(method: str) -> str:
    return f"aggregate.{safe_label(method)}.png"


def write_aggregate(result: Aggregate, folder: Path) -> None:
    """Write a picture per method, all numbers, and the page."""
    for method in result.methods:
        write_png(folder / picture_name(method), picture_of(result.of(method)[:SHOWN]))
    content = {
        "generator": "xaicli",
        "model": result.model,
        "normalize": result.normalize,
        "groups": [group.record() | arrays_of(group) for group in result.groups.values()],
    }
    text = json_text(content) + "\n"
    write_atomic(folder / FILE, lambda file: file.write(text.encode()))
    photos = max((group.n + group.zero for group in result.groups.values()), default=0)
    about = f"Maps of {count(photos, 'photo')} as {result.model} explains them"
    write_sections(folder / PAGE, f"Maps of a data set on {result.model}", about, sections_of(result))


def arrays_of(group: MapAggregate) -> dict[str, Any]:
    """The mean maps of a group as lists, row by row."""
    known = {"mean": group.absolute.mean, "std": group.absolute.std, "signed mean": group.signed.mean}
    known |= {"around object": group.around.mean} if group.around.n else {}
    return {name: [[rounded(float(value)) for value in line] for line in array] for name, array in known.items()}


def sections_of(result: Aggregate) -> list[Section]:
    rows = table_rows(result.table_rows, result.shown)
    pictures = [
        Section(method, (), (), tuple(group_pictures(group) for group in result.of(method)[:SHOWN] if group.n))
        for method in result.methods
    ]
    return [Section("What may be said", tuple(result.sentences)), Section("Groups", (*ABOUT, *result.left_out), rows), *pictures]


def grids_of(group: MapAggregate) -> list[tuple[str, Floats]]:
    found = [("mean", group.absolute.mean)]
    found += [("spread", group.absolute.std)] if group.n > 1 else []
    found += [("around object", group.around.mean)] if group.around.n else []
    return found


def group_pictures(group: MapAggregate) -> PictureGroup:
    shown = tuple(PagePicture.of(grid_picture(grid), name) for name, grid in grids_of(group))
    return PictureGroup(group.target, shown, count(group.n, "photo"))


def picture_of(groups: Sequence[MapAggregate]) -> Image.Image:
    """The mean, the spread and, where objects are marked, the mean around them: one row per class, in blocks side by side."""
    columns = max(len(grids_of(group)) for group in groups)
    row = SIDE + 2 * line_height(SIZE) + GAP
    blocks = math.ceil(len(groups) / TALL)
    rows = math.ceil(len(groups) / blocks)
    across = columns * (SIDE + GAP)
    picture = Image.new("RGB", (GAP + blocks * across, GAP + rows * row), (255, 255, 255))
    for at, group in enumerate(groups):
        draw_group(picture, group, (GAP + at // rows * across, GAP + at % rows * row), across - GAP)
    return picture


def draw_group(picture: Image.Image, group: MapAggregate, place: tuple[int, int], width: int) -> None:
    draw, line = ImageDraw.Draw(picture), line_height(SIZE)
    write(draw, place, f"{group.target}, {count(group.n, 'photo')}", SIZE, width=width, bold=True)
    for at, (name, grid) in enumerate(grids_of(group)):
        left, top = place[0] + at * (SIDE + GAP), place[1] + line
        picture.paste(grid_picture(grid, SIDE), (left, top))
        write(draw, (left, top + SIDE), name, SIZE - 2, width=SIDE)
