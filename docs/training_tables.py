"""The tables of docs/training.md and docs/imagenet.md, from stored results: `python -m docs.training_tables`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.measured import between
from docs.page_words import wrapped
from xaicli.words import count

HERE = Path(__file__).parent
PROCESSES = Path("docs/results/two_processes.json")
RECIPES = Path("docs/results/imagenet_recipes.json")
PROCESSES_MARKS = "<!-- processes: python -m docs.training_tables -->\n", "<!-- end of processes -->"
RECIPES_MARKS = "<!-- recipes: python -m docs.training_tables -->\n", "<!-- end of recipes -->"
PHOTOS = 1_281_167
"""Training photos of ImageNet."""
PUBLISHED = 2470
"""Photos a second by which ResNet-50 trains on one A100 in mixed precision (NVIDIA/DeepLearningExamples, ResNet50 v1.5)."""
PARTS = 5


def processes_table(stored: Mapping[str, Any]) -> str:
    """What each way of training came to; weights as their distance from those of one process."""
    about = (
        f"Measured on `{stored['model']}`: {stored['photos']:,} photos, one epoch, batches of {stored['batch']}, "
        f"{stored['held']:,} held-out photos, on the CPU, torch {stored['torch']}. *Distance* is that of the weights from "
        "those of one process, divided by their own size. A training with another seed shows what chance alone changes. The "
        "share is of held-out photos: decided rightly; for explainers, decided as before when seen through the map."
    )
    lines = [
        wrapped(about),
        "",
        "| training | looks at a whole batch | | loss | held-out loss | share, % | distance | largest difference of a weight |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in stored["rows"]:
        for way, figures in row["ways"].items():
            names = f"`{row['method']}` | {row['what']}" if way == "one process" else " | "
            lines.append(
                f"| {names} | {way} | {figures['loss']:.4f} | {figures['held loss']:.4f} | {100 * figures['share']:.1f} | "
                f"{figures['weights']:.2g} | {figures['largest']:.2g} |"
            )
    return "\n".join([*lines, "", "Made by `python -m tools.two_processes --data train/ --val val/`."])


def recipes_tables(stored: Mapping[str, Any]) -> str:
    """The cost of each recipe, then what the run at real size came to."""
    usual = stored["ordinary"]
    rate = PUBLISHED * usual
    rows = [
        f"| `{one['method']}` | {one['network']} | {one['epochs']} | {one['batch']} | {one['flop'] / 1e9:.1f} | "
        f"{one['flop'] * one['epochs'] * PHOTOS / rate / 3600:,.1f} |"
        for one in stored["recipes"]
    ]
    note = (
        "The operations of a training step are counted by torch's counter, with inputs of 224 x 224; a multiplication and "
        f"an addition are two. The rate is a published one: ResNet-50 trains with {PUBLISHED:,} photos a second on one A100 "
        "in mixed precision (NVIDIA, DeepLearningExamples, ResNet50 v1.5 for PyTorch), which by the same counter takes "
        f"{usual / 1e9:.1f} GFLOP a photo: {rate / 1e12:.0f} TFLOP/s. Hours are these operations at this rate, for "
        f"{PHOTOS:,} photos an epoch. They are computed; nobody has spent them here. Networks that use a GPU worse than "
        "ResNet-50 take longer, and so does training that waits for photos to be decoded."
    )
    head = ["| method | network | epochs | batch | GFLOP a photo | GPU hours |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    runs = stored.get("runs", [])
    made = ["", "Made by `python -m tools.imagenet_recipes --data train/`."]
    return "\n".join([*head, *rows, "", wrapped(note), *(run_lines(runs) if runs else []), *made])


def run_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was run, how fast, and the loss over the steps."""
    first = runs[0]
    about = (
        f"**Run at real size**: {count(first['steps'], 'step')} each at 224 x 224 pixels, learning rate up to "
        f"{first['lr']:g}, on photos of Tiny ImageNet enlarged from 64 x 64. The networks have random weights, their batch "
        "norms set by 64 photos. So the runs show that the trainings run at this size, not what they learn or what a map is "
        "worth. Photos a second are of one core, beside other work. The loss is the mean of the steps up to:"
    )
    ends = [at * first["steps"] // PARTS for at in range(1, PARTS + 1)]
    rows = []
    for run in runs:
        losses = [f"{part['loss']:.2f}" for part in parts_of(run["trace"], PARTS)]
        about_it = [f"`{run['method']}`", f"`{run['model']}`", run["precision"], str(run["batch"]), f"{run['rate']:.2g}"]
        rows.append(f"| {' | '.join([*about_it, *losses])} |")
    head = f"| method | network | precision | photos a step | photos a second | {' | '.join(map(str, ends))} |"
    return ["", wrapped(about), "", head, "| --- | --- | --- |" + " ---: |" * (2 + PARTS), *rows]


def parts_of(trace: Sequence[Mapping[str, float]], count: int) -> list[dict[str, float]]:
    """The means of consecutive parts of a trace."""
    edges = [at * len(trace) // count for at in range(count + 1)]
    found = [trace[low:high] for low, high in itertools.pairwise(edges) if high > low]
    return [{name: sum(point[name] for point in part) / len(part) for name in part[0]} for part in found]


def pages() -> dict[Path, str]:
    """Both pages by what is stored; a page without results is left as it is."""
    made = {}
    for results, page, marks, table in (
        (PROCESSES, HERE / "training.md", PROCESSES_MARKS, processes_table),
        (RECIPES, HERE / "imagenet.md", RECIPES_MARKS, recipes_tables),
    ):
        path = HERE / "results" / results.name
        if path.is_file():
            made[page] = between(page.read_text("utf-8"), marks, table(json.loads(path.read_text("utf-8"))))
    return made


def write_tables() -> None:
    for path, text in pages().items():
        path.write_text(text, "utf-8")


def main() -> int:
    write_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main())
