"""A picture of a training run: the loss and its terms, held-out figures, and the learning rate, by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xaicli.files import write_atomic

HELD = "held "


def curve_path(output: Path) -> Path:
    """Where the picture of a checkpoint's training lies."""
    return output.with_name(f"{output.stem}.curve.png")


def draw_curve(path: Path, history: Sequence[Mapping[str, float]], title: str) -> None:
    """Write the picture, PNG; raises InputError where the place does not take it."""
    names = list(dict.fromkeys(name for row in history for name in row))
    bounded = [name for name in names if name.startswith(HELD) and all(0 <= row.get(name, 0) <= 1 for row in history)]
    shares = [name for name in bounded if name.removeprefix(HELD) not in names]
    losses = [name for name in names if name not in ("lr", *shares)]
    panels = [("loss", losses), *([("share of held-out photos", shares)] if shares else []), ("learning rate", ["lr"])]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    for place, (label, shown) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for name in shown:
            epochs = [at for at, row in enumerate(history, 1) if name in row]
            axes.plot(
                epochs,
                [row[name] for row in history if name in row],
                label=name,
                linestyle="--" if name.startswith(HELD) and label == "loss" else "-",
                marker="o" if len(epochs) < 2 else "",
                linewidth=1.4,
            )
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(visible=True, alpha=0.3)
        if len(shown) > 1 or shown == shares:
            axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    content = buffer.getvalue()
    write_atomic(path, lambda file: file.write(content))
