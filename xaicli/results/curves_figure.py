"""Scores as a figure: mean curves with their intervals, or means if a metric has no curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib

from xaicli.errors import UsageError
from xaicli.images.figure import FONT, WIDTH_CM, new_figure
from xaicli.results.intervals import LEVEL
from xaicli.results.report.curves import MeanCurve
from xaicli.results.sentences import FITTED_MARK, joined
from xaicli.results.summary import Group
from xaicli.results.tables import heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREYS = ("#6b7280", "#9ca3af", "#4b5563", "#d1d5db")
COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#b4236b", "#0e7490", "#854d0e", "#52525b")
"""The colours of the report's page; controls are grey."""
DASHES = ("--", ":", "-.")
MOST_LINES = 6
"""Maximum lines in a panel; with more, the controls that are maps of other photos are left out."""


def curves_figure(
    groups: Sequence[Group], curves: Sequence[MeanCurve], *, width_cm: float = WIDTH_CM, columns: int = 2
) -> Figure:
    """A panel for each metric of each group: every method's mean curve with its 95 % band, or its mean with the interval.

    columns: panels side by side. Each panel's title gives n. Raises UsageError if there is nothing to draw.
    """
    panels = [(group, metric) for group in groups for metric in group.metrics]
    if not panels or columns < 1:
        raise UsageError("a figure of no scores", expected="scores of at least one photo, and at least one column")
    across = min(columns, len(panels))
    down = math.ceil(len(panels) / across)
    with matplotlib.rc_context(FONT):
        figure = new_figure(width_cm, down * (0.72 * width_cm / across) + 1.2)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis, (group, metric) in zip(axes, panels, strict=False):
            mine = curves_of(group, metric, curves)
            if mine:
                draw_curves(axis, group, mine)
            else:
                draw_means(axis, group, metric)
            name = f"{group.model or group.fingerprint}: " if len(groups) > 1 else ""
            count = max((curve.n for curve in mine.values()), default=group.photos)
            axis.set_title(f"{name}{heading(group, metric)} (n = {count:,}{fitted_to(group, metric)})", loc="left")
            axis.spines[["top", "right"]].set_visible(False)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        entries = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        if entries:
            figure.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=3, frameon=False)
    return figure


def fitted_to(group: Group, metric: str) -> str:
    """The methods whose maps were fitted to the metric, behind their mark; empty without one."""
    found = [name for (name, of), cell in group.cells.items() if of == metric and cell.recipe.fitted]
    return f"; {FITTED_MARK} {joined(found)}" if found else ""


def curves_of(group: Group, metric: str, curves: Sequence[MeanCurve]) -> dict[str, MeanCurve]:
    """The curves of one panel by method label, methods first; if there are many, those of other photos' maps are left out."""
    by_definition = {curve.definition: curve for curve in curves if curve.model == group.fingerprint}
    found = {
        name: by_definition[cell.recipe.definition]
        for name in (*group.methods, *group.controls)
        if (cell := group.cells.get((name, metric))) is not None and cell.recipe.definition in by_definition
    }
    if len(found) > MOST_LINES:
        found = {name: curve for name, curve in found.items() if not name.startswith("other@")}
    return found


def draw_curves(axis: Axes, group: Group, curves: dict[str, MeanCurve]) -> None:
    for name, curve in curves.items():
        style = DASHES[group.controls.index(name) % len(DASHES)] if name in group.controls else "-"
        colour = colour_of(group, name)
        axis.plot(curve.x, curve.mean, style, color=colour, linewidth=1, label=name)
        axis.fill_between(curve.x, curve.mean - curve.half, curve.mean + curve.half, color=colour, alpha=0.12, linewidth=0)
    axis.set(xlim=(0, 1), xlabel="fraction of the pixels", ylabel=f"mean, {LEVEL * 100:.0f} % band")
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0] if min(curve.mean.min() for curve in curves.values()) < 0 else 0.0))


def draw_means(axis: Axes, group: Group, metric: str) -> None:
    names = [name for name in (*group.methods, *group.controls) if (name, metric) in group.cells]
    for at, name in enumerate(names):
        estimate, single = group.cells[name, metric].estimate, group.cells[name, metric].single
        value = single if estimate.value is None else estimate.value
        if value is None:
            continue
        colour = colour_of(group, name)
        axis.plot([value], [at], "o", color=colour, markersize=3)
        if estimate.low is not None and estimate.high is not None:
            axis.plot([estimate.low, estimate.high], [at, at], "-", color=colour, linewidth=1)
    axis.set_yticks(range(len(names)), labels=names)
    axis.set_xlabel(f"mean, {LEVEL * 100:.0f} % interval")
    axis.invert_yaxis()


def colour_of(group: Group, name: str) -> str:
    if name in group.controls:
        return GREYS[group.controls.index(name) % len(GREYS)]
    return COLOURS[group.methods.index(name) % len(COLOURS)]
