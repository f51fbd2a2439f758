"""Contact sheets: one row per photo and one column per method, to see many explanations at a glance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from xaicli.errors import UsageError
from xaicli.images.colour import Scale
from xaicli.images.geometry import Geometry
from xaicli.images.marks import TargetMark
from xaicli.images.overlay import ALPHA, HEAT, bar_table, overlay
from xaicli.images.text import FAINT, INK, line_height, write
from xaicli.sign import Sign
from xaicli.words import count

WIDTH = 1600
SMALLEST_CELL, LARGEST_CELL = 130, 420
TALL = 2400
"""Maximum height in pixels; a taller sheet is split into blocks side by side."""

GAP, MARGIN, BLOCK_GAP = 8, 20, 28
BAR = 8
PHOTO_LINES = 3
"""The photo's name, then its decision and probability."""

PAPER = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class SheetCell:
    """One map of a row: values (h, w), what their sign means, lines under it such as scores, and marks of its target."""

    values: NDArray[np.float32]
    sign: Sign
    lines: tuple[str, ...] = ()
    marks: tuple[TargetMark, ...] = ()


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One photo of a sheet: its name, the lines under it (decision and probability), and its cells by column name."""

    photo: Image.Image
    geometry: Geometry
    name: str
    lines: tuple[str, ...] = ()
    cells: Mapping[str, SheetCell] = field(default_factory=dict)


def sheet(
    rows: Iterable[SheetRow],
    columns: Sequence[str],
    *,
    count: int | None = None,
    scales: Mapping[str, Scale] | None = None,
    colormap: str | None = None,
    alpha: float = ALPHA,
    title: str = "",
    width: int = WIDTH,
    look: str = HEAT,
) -> Image.Image:
    """Draw all rows on one picture. `rows` may be a generator if `count` is given, so that a photo is freed once it is drawn.

    columns: method labels, in order; more than fit the width stand in bands below each other, each with the photos again;
    scales: one range for all maps of a column, which then has one colour bar on top; without it, each map has its own range
    and bar.
    """
    if count is None:
        rows = list(rows)
        count = len(rows)
    bands = [
        Sheet(band, count, dict(scales or {}), colormap, alpha, "" if at else title, width, look=look)
        for at, band in enumerate(bands_of(columns, width))
    ]
    for row in rows:
        for band in bands:
            band.add(row)
    return stacked([band.picture() for band in bands])


@dataclass
class Sheet:
    """A sheet while it is drawn. count: how many photos it has room for; lines: how many lines fit under each map."""

    columns: tuple[str, ...]
    count: int
    scales: dict[str, Scale] = field(default_factory=dict)
    colormap: str | None = None
    alpha: float = ALPHA
    title: str = ""
    width: int = WIDTH
    lines: int = 2
    look: str = HEAT

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError("a sheet of no photos", expected="at least one")
        self.blocks, self.cell = layout(len(self.columns), self.count, self.width)
        self.size = min(18, max(12, self.cell // 15))
        self.line = line_height(self.size)
        self.bar = BAR + 2 + line_height(self.size - 2)
        under = max(PHOTO_LINES * self.line, (self.lines + 1) * self.line + self.bar)
        self.tallest = self.cell + 4 + under + 2 * GAP
        self.rows = math.ceil(self.count / self.blocks)
        self.block = (1 + len(self.columns)) * (self.cell + GAP) - GAP
        self.top = MARGIN + (2 * self.line if self.title else 0)
        first = self.top + self.line + (self.bar if self.scales else 0) + 4
        self.next_row = [first] * self.blocks
        self.bars: set[tuple[int, int]] = set()
        self.added = 0
        full = 2 * MARGIN + self.blocks * self.block + (self.blocks - 1) * BLOCK_GAP
        # Tall enough for square photos; the unused part is cut off at the end.
        self.canvas = Image.new("RGB", (full, first + self.rows * self.tallest + MARGIN), PAPER)
        self.draw = ImageDraw.Draw(self.canvas)
        self.draw_header()

    def left(self, block: int, column: int) -> int:
        return MARGIN + block * (self.block + BLOCK_GAP) + column * (self.cell + GAP)

    def draw_header(self) -> None:
        if self.title:
            write(self.draw, (MARGIN, MARGIN), self.title, self.size + 2, width=self.canvas.width - 2 * MARGIN, bold=True)
        for block in range(self.blocks):
            for at, name in enumerate(("photo", *self.columns)):
                write(self.draw, (self.left(block, at), self.top), name, self.size, width=self.cell, bold=True)

    def add(self, row: SheetRow) -> None:
        """Draw one more row."""
        if self.added == self.count:
            raise UsageError(f"a sheet of {count(self.count, 'photo')} has no room for one more")
        block = self.added // self.rows
        y = self.next_row[block]
        thumb = thumbnail(row.photo, self.cell)
        geometry = replace(row.geometry, source=thumb.size)
        self.canvas.paste(thumb, (self.left(block, 0), y))
        lines = (row.name, *row.lines)[:PHOTO_LINES]
        bottoms = [self.captions(lines, self.left(block, 0), y + thumb.height + 4, bold=True)]
        for at, column in enumerate(self.columns, 1):
            bottoms.append(self.draw_cell(row.cells.get(column), thumb, geometry, (self.left(block, at), y), column))
        self.next_row[block] = max(bottoms) + 2 * GAP
        self.added += 1

    def draw_cell(
        self, cell: SheetCell | None, thumb: Image.Image, geometry: Geometry, place: tuple[int, int], column: str
    ) -> int:
        """Draw a map on the photo, its colour bar and lines of text; a pale photo and the reason if there is no map to draw.

        Returns the y where it ends.
        """
        x, y = place
        below = y + thumb.height + 4
        why = nothing_to_draw(cell)
        if cell is None or why:
            self.canvas.paste(faded(thumb), place)
            return self.captions((*why, *(cell.lines if cell else ()))[: self.lines + 1], x, below)
        shared = self.scales.get(column)
        scale = shared or Scale.of([cell.values], cell.sign)
        drawn = overlay(
            thumb,
            cell.values,
            geometry,
            cell.sign,
            scale=scale,
            colormap=self.colormap,
            alpha=self.alpha,
            look=self.look,
            marks=cell.marks,
        )
        self.canvas.paste(drawn, place)
        bar_at = (x, below) if shared is None else (x, self.top + self.line)
        if bar_at not in self.bars:
            self.bars.add(bar_at)
            draw_bar(self.canvas, scale, bar_table(cell.sign, self.colormap, self.look), (*bar_at, self.cell, BAR), self.size - 2)
        return self.captions(cell.lines[: self.lines], x, below + (self.bar if shared is None else 0))

    def captions(self, lines: Sequence[str], x: int, y: int, *, bold: bool = False) -> int:
        """Write lines of text: the first in full colour (bold if it is a name), the others fainter. Returns the y where they
        end."""
        for at, line in enumerate(lines):
            colour = FAINT if at else INK
            write(self.draw, (x, y + at * self.line), line, self.size, width=self.cell, bold=bold and not at, colour=colour)
        return y + len(lines) * self.line

    def picture(self) -> Image.Image:
        """The sheet as far as it is drawn."""
        return self.canvas.crop((0, 0, self.canvas.width, min(self.canvas.height, max(self.next_row) + MARGIN - GAP)))


def layout(columns: int, count: int, width: int = WIDTH) -> tuple[int, int]:
    """How many photos are side by side, and the side of a picture: as large as the maximum height allows."""
    across = 1 + columns
    best = (1, SMALLEST_CELL)
    for blocks in range(1, count + 1):
        room = width - 2 * MARGIN - (blocks - 1) * BLOCK_GAP - blocks * (across - 1) * GAP
        cell = min(LARGEST_CELL, room // (blocks * across))
        if cell < SMALLEST_CELL:
            break
        best = (blocks, cell)
        if math.ceil(count / blocks) * (cell + 80) <= TALL:
            break
    return best


def bands_of(columns: Sequence[str], width: int) -> list[tuple[str, ...]]:
    """The columns in groups of about equal size, each as many as fit the width beside the photo at the smallest size."""
    most = max(1, (width - 2 * MARGIN + GAP) // (SMALLEST_CELL + GAP) - 1)
    if len(columns) <= most:
        return [tuple(columns)]
    size = math.ceil(len(columns) / math.ceil(len(columns) / most))
    return [tuple(columns[at : at + size]) for at in range(0, len(columns), size)]


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, on the left."""
    if len(pictures) == 1:
        return pictures[0]
    canvas = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), PAPER)
    top = 0
    for each in pictures:
        canvas.paste(each, (0, top))
        top += each.height
    return canvas


def nothing_to_draw(cell: SheetCell | None) -> tuple[str, ...]:
    """Why a cell shows no map, in lines of text; empty if it shows one."""
    if cell is None:
        return ("no map",)
    finite = np.isfinite(cell.values)
    if not finite.all():
        return ("map not finite", f"{(~finite).sum()} of {count(finite.size, 'value')}")
    if cell.values.min() == cell.values.max():
        return ("constant map", f"{cell.values.flat[0]:.3g} throughout")
    return ()


def draw_bar(canvas: Image.Image, scale: Scale, table: NDArray[np.uint8], field: tuple[int, int, int, int], size: int) -> None:
    """Draw a horizontal colour bar in `field` (x, y, width, height), with both ends of the range under it, and 0 if it lies
    between them."""
    x, y, width, height = field
    levels = np.rint(np.linspace(0, len(table) - 1, width)).astype(np.intp)
    canvas.paste(Image.fromarray(np.repeat(table[levels][None], height, axis=0)), (x, y))
    draw = ImageDraw.Draw(canvas)
    low, high = scale.texts()
    write(draw, (x, y + height + 1), low, size, width=width / 2 - 6, colour=FAINT)
    write(draw, (x + width / 2 + 6, y + height + 1), high, size, width=width / 2 - 6, align="right", colour=FAINT)
    if scale.low < 0 < scale.high:
        write(draw, (x + width / 2 - 6, y + height + 1), "0", size, width=12, align="centre", colour=FAINT)


def thumbnail(photo: Image.Image, side: int) -> Image.Image:
    """The photo at the largest size that fits a square of that side; small photos are enlarged."""
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def faded(picture: Image.Image) -> Image.Image:
    """Grey and pale: a photo without its map."""
    return Image.blend(ImageEnhance.Color(picture).enhance(0), Image.new("RGB", picture.size, PAPER), 0.6)
