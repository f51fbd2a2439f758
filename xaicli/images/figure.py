"""Figures for papers: vector drawings of a width in centimetres, as PDF, SVG or PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from PIL import Image

from xaicli.claims import MARK, claim
from xaicli.errors import UsageError
from xaicli.files import require_writable, write_atomic
from xaicli.images.colour import Scale
from xaicli.images.overlay import ALPHA, HEAT, bar_table, overlay
from xaicli.images.sheet import SheetRow, nothing_to_draw, thumbnail
from xaicli.later import agg, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABOUT: dict[str, dict[str, str | None]] = {
    ".pdf": {"Producer": MARK, "CreationDate": None},
    ".svg": {"Creator": MARK, "Date": None},
    ".png": {"Software": MARK},
}
"""The metadata of a figure, by the ending of its name. It has no date, so that the same command gives the same bytes."""
WIDTH_CM, DPI = 16.0, 300
CENTIMETRE = 1 / 2.54
LINE = 0.33
"""Height of a line of text in centimetres."""
BESIDE_BAR = 0.8
"""The share of a column's width for the picture; the rest is for the colour bar."""
FONT: dict[Any, Any] = {"font.size": 7, "axes.titlesize": 7, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "xai"}
"""Text stays text, so that a journal can typeset it anew; the salt makes the bytes of a figure reproducible."""


def new_figure(width_cm: float, height_cm: float) -> Figure:
    """An empty figure of a size in centimetres."""
    made: Figure = figures.Figure(figsize=(width_cm * CENTIMETRE, height_cm * CENTIMETRE), layout="constrained")
    agg.FigureCanvasAgg(made)
    return made


def claim_figure(path: Path, inputs: Iterable[Path | None] = (), *, overwrite: bool = False) -> None:
    """Raise XaiError, before any work, if the name has no known ending, an existing file must not be replaced, or the folder
    cannot be written to."""
    if path.suffix.lower() not in ABOUT:
        raise UsageError(f"a figure called {path.name}", expected=f"a name that ends in {', '.join(ABOUT)}")
    claim(path, inputs, overwrite=overwrite)
    require_writable(path.parent)


def save_figure(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure, whole or not at all; dpi: of pictures in it, and of PNG. Raises InputError."""
    ending = path.suffix.lower()
    with matplotlib.rc_context(FONT):
        write_atomic(path, lambda file: figure.savefig(file, format=ending[1:], dpi=dpi, metadata=ABOUT[ending]))


def sheet_figure(
    rows: Sequence[SheetRow],
    columns: Sequence[str],
    *,
    scales: Mapping[str, Scale] | None = None,
    colormap: str | None = None,
    alpha: float = ALPHA,
    look: str = HEAT,
    width_cm: float = WIDTH_CM,
    dpi: int = DPI,
) -> Figure:
    """A contact sheet: one row per photo with its decision, one column per method with its scores, and a colour bar beside each
    map.

    scales: one range for all maps of a column, which then has a single bar at its foot.
    """
    if not rows:
        raise UsageError("a figure of no photos", expected="at least one")
    across = 1 + len(columns)
    side = width_cm / across
    with matplotlib.rc_context(FONT):
        heights = [BESIDE_BAR * side * row.photo.height / row.photo.width + LINE * lines_of(row) for row in rows]
        figure = new_figure(width_cm, sum(heights) + LINE)
        axes = figure.subplots(len(rows), across, squeeze=False, height_ratios=heights)
        for at, row in enumerate(rows):
            photo = thumbnail(row.photo, max(16, round(side * CENTIMETRE * dpi)))
            axes[at, 0].imshow(photo)
            axes[at, 0].set_xlabel("\n".join((row.name, *row.lines)))
            for axis, name in zip(axes[at, 1:], columns, strict=True):
                draw_cell(axis, row, name, photo, (scales or {}).get(name), colormap, alpha, look)
        for axis, name in zip(axes[0], ("photo", *columns), strict=True):
            axis.set_title(name)
        for axis in axes.ravel():
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    return figure


def lines_of(row: SheetRow) -> int:
    """Lines of text under the pictures of a row."""
    return max(1 + len(row.lines), *(len(cell.lines) for cell in row.cells.values()), 0)


def draw_cell(
    axis: Axes, row: SheetRow, name: str, photo: Image.Image, shared: Scale | None, colormap: str | None, alpha: float, look: str
) -> None:
    """Draw a map on the photo with its colour bar and lines of text; a pale photo and the reason if there is no map to draw."""
    cell = row.cells.get(name)
    why = nothing_to_draw(cell)
    if cell is None or why:
        axis.imshow(photo, alpha=0.3)
        axis.set_xlabel("\n".join(why))
        return
    scale = shared or Scale.of([cell.values], cell.sign)
    geometry = replace(row.geometry, source=photo.size)
    drawn: dict[str, Any] = {"scale": scale, "colormap": colormap, "alpha": alpha, "look": look, "marks": cell.marks}
    axis.imshow(overlay(photo, cell.values, geometry, cell.sign, **drawn))
    axis.set_xlabel("\n".join(cell.lines))
    colours = ScalarMappable(Normalize(scale.low, scale.high), ListedColormap(bar_table(cell.sign, colormap, look) / 255))
    bar = axis.figure.colorbar(colours, ax=axis, location="right", fraction=0.04, pad=0.02)
    bar.set_ticks([scale.low, scale.high], labels=list(scale.texts()))
    bar.ax.tick_params(labelsize=5, length=1, pad=1)
    bar.outline.set_linewidth(0.3)
