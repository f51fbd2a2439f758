"""Pictures and tables of how cost grows, from what `python -m benchmarks growth:AXIS --write` stored."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

PICTURE = Path(__file__).parent / "pictures" / "growth.svg"
TITLES = {
    "photos": "Grad-CAM of small photos, whole command",
    "methods": "deletion and insertion of maps of one photo, MobileNetV2",
    "masks": "RISE of one photo, MobileNetV2",
    "channels": "Score-CAM of one photo, ResNet-18",
}
"""What grows, and what is done with it."""
WORDS = {"methods": "maps"}
COLOURS = {"xai": "#0b6e99"}
OTHER = "#c8553d"

Side = Mapping[str, Any]
Growth = dict[str, dict[int, dict[str, Side]]]
"""By what grows, how large it is, and the tool: what was measured."""


def growth_of(stored: Mapping[str, Mapping[str, Any]]) -> Growth:
    found: Growth = {}
    for result in stored.values():
        for figure in result["figures"]:
            detail = figure.get("detail", {})
            if "axis" in detail:
                point = found.setdefault(detail["axis"], {}).setdefault(detail["at"], {})
                for side in (detail[whose] for whose in ("ours", "theirs") if whose in detail):
                    point[side["tool"]] = side
    return {axis: dict(sorted(found[axis].items())) for axis in TITLES if axis in found}


def section(growth: Growth) -> list[str]:
    """The pictures, and their numbers; nothing where none were measured."""
    if not growth:
        return []
    axes = ", ".join(WORDS.get(axis, axis) for axis in growth)
    lines = ["", "## How cost grows", "", f"![Processor seconds by {axes}](pictures/growth.svg)", ""]
    lines += [
        "Processor seconds on one thread, and MiB: of a command all it took, else above what the process had.",
        "",
    ]
    for axis, points in growth.items():
        tools = list(dict.fromkeys(tool for point in points.values() for tool in point))
        lines += [f"**{WORDS.get(axis, axis).capitalize()}**: {TITLES[axis]}.", ""]
        lines.append(f"| {WORDS.get(axis, axis)} | " + " | ".join(f"{tool}, s | MiB" for tool in tools) + " |")
        lines.append("|---" * (1 + 2 * len(tools)) + "|")
        lines += [f"| {at:,} | " + " | ".join(cells(point.get(tool)) for tool in tools) + " |" for at, point in points.items()]
        lines.append("")
    return lines[:-1]


def cells(side: Side | None) -> str:
    if side is None:
        return " | "
    memory = "" if side["memory"] is None else f"{side['memory']:.0f}"
    return f"{statistics.median(side['processor']):.3g} | {memory}"


def draw(growth: Growth, path: Path = PICTURE) -> None:
    """A panel for each thing that grows, both axes logarithmic, so that a straight line is a constant cost of each more."""
    with rc_context({"svg.hashsalt": "growth", "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(8.2, 2.3 * ((len(growth) + 1) // 2)), layout="constrained")
        for number, (axis, points) in enumerate(growth.items()):
            panel = figure.add_subplot((len(growth) + 1) // 2, 2, number + 1)
            lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
            for at, point in points.items():
                for tool, side in point.items():
                    lines[tool].append((at, statistics.median(side["processor"])))
            for tool, measured in lines.items():
                panel.plot(*zip(*measured, strict=True), marker="o", markersize=3, color=COLOURS.get(tool, OTHER), label=tool)
            panel.set(xscale="log", yscale="log", xlabel=WORDS.get(axis, axis), ylabel="processor s")
            panel.set_title(TITLES[axis], fontsize=8)
            panel.set_xticks(list(points), [f"{at:,}" for at in points], minor=False)
            panel.set_xticks([], minor=True)
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.set_yticks([], minor=True)
            panel.grid(alpha=0.25)
            panel.legend(frameon=False, fontsize=7)
        figure.savefig(path, format="svg", metadata={"Date": None})
