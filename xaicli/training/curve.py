"""A picture of a training run: the loss, its terms, held-out figures and the learning rate, each in its own panel."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xaicli.claims import MARK
from xaicli.files import write_atomic

HELD = "held "
COLUMNS = 3
Rows = Sequence[Mapping[str, float]]


def curve_path(output: Path) -> Path:
    """The path of the picture of a checkpoint's training."""
    return output.with_name(f"{output.stem}.curve.png")


def draw_curve(path: Path, trace: Rows, history: Rows, title: str) -> None:
    """Write the picture, PNG; raises InputError if it cannot be written.

    trace: means over a few steps each, with the `epoch` at which they end; history: a row per epoch, whose held-out figures are
    drawn.
    """
    names = panels(trace, history)
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(4.2 * min(len(names), COLUMNS), 2.8 * rows + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    for place, name in enumerate(names, 1):
        draw_panel(figure.add_subplot(rows, min(len(names), COLUMNS), place), name, trace, history)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": MARK})
    content = buffer.getvalue()
    write_atomic(path, lambda file: file.write(content))


def panels(trace: Rows, history: Rows) -> list[str]:
    """The panels: the loss first, the learning rate last. A loss with a single term is drawn once."""
    terms = list(dict.fromkeys(name for row in trace for name in row if name not in ("epoch", "lr", "loss")))
    held = list(dict.fromkeys(name.removeprefix(HELD) for row in history for name in row if name.startswith(HELD)))
    whole = ["loss"] if len(terms) != 1 else []
    return list(dict.fromkeys([*whole, *terms, *(name for name in held if name != "loss"), "lr"]))


def draw_panel(axes: Axes, name: str, trace: Rows, history: Rows) -> None:
    """Draw one quantity: as a line for training, as points at the ends of epochs for held-out photos."""
    seen = [row for row in trace if name in row]
    held = [(at, row[HELD + name]) for at, row in enumerate(history, 1) if HELD + name in row]
    if seen:
        marker = "." if len(seen) == 1 else ""
        axes.plot([row["epoch"] for row in seen], [row[name] for row in seen], color="C0", marker=marker, label="training")
    if held:
        axes.plot(*zip(*held, strict=True), color="C1", linestyle="--", marker="o", markersize=3, label="held out")
    axes.set(xlabel="epoch", title="learning rate" if name == "lr" else name)
    axes.title.set_fontsize(9)
    axes.set_xlim(left=0)
    axes.grid(visible=True, alpha=0.3)
    if seen and held:
        axes.legend(fontsize=8, frameon=False)
