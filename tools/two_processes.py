"""What differs when two processes train in place of one: the same trainings by `xai train`, alone and under torchrun.

    python -m tools.two_processes --data train/ --val val/

trains what is missing for one epoch each, keeps the figures in docs/results/two_processes.json, and writes the table of
docs/training.md. A third training with another seed shows how much chance alone changes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from docs.training_tables import PROCESSES, write_tables
from tools.children import run
from tools.resumable_work import exit_code_of, say
from xaicli.errors import RunError
from xaicli.files import write_atomic
from xaicli.models.checkpoint import ENDING, is_checkpoint, read_checkpoint, read_metadata
from xaicli.training.data import Listing, read_listing

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
WAYS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "one process": ((), 0),
    "two processes": (TORCHRUN, 0),
    "another seed": ((), 1),
}
"""What goes before the command, and its seed."""
FIRST = "one process"


@dataclass(frozen=True)
class Compared:
    """A training; what: of its losses looks at more than one photo; options: of the command."""

    method: str
    what: str
    options: tuple[str, ...]
    share: str = "held kept"


TRAININGS = (
    Compared("l-cam@maps=matched", "nothing", ("--lr", "0.01")),
    Compared("t-tame", "batch norm of the head; the area and variation of maps", ("--lr", "0.01")),
    Compared("classifier", "batch norm of the network", ("--pretrained", "--lr", "0.02", "--ema", "0"), "held accuracy"),
)


def train(one: Compared, way: str, photos: Path, held: Path, arguments: argparse.Namespace) -> Path:
    """The file of a training, made unless it is there."""
    before, seed = WAYS[way]
    output = arguments.work / f"{one.method.replace('@', '.')}.{way.replace(' ', '-')}{ENDING}"
    if is_checkpoint(output):
        return output
    words = ["train", one.method, "--model", arguments.model, "--data", str(photos), "--val", str(held), *one.options]
    words += f"--epochs 1 --batch-size {arguments.batch} --seed {seed} --report 0 --device cpu --no-progress".split()
    command = [sys.executable, *before, "-m", "xaicli.cli.main", *words, "-o", str(output)]
    try:
        run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    except subprocess.CalledProcessError as error:
        raise RunError(f"{one.method}, {way}: {reason_in(error.stderr)}") from error
    say(f"{one.method}, {way}: trained")
    return output


def reason_in(told: str) -> str:
    """The command's own error line, behind which torchrun writes a report of its own; the last line where there is none."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return next(iter(errors or lines[-1:]), "no message")


def figures_of(file: Path, first: Path, share: str) -> dict[str, float]:
    """Losses and a share of held-out photos, as the training measured them, and how far its weights are from the first's."""
    [row] = read_metadata(file)["history"]
    own, other = (read_checkpoint(path).tensors for path in (file, first))
    away, size, largest = 0.0, 0.0, 0.0
    for name, tensor in other.items():
        if tensor.is_floating_point():
            gap = (own[name] - tensor).double()
            away, size = away + float((gap**2).sum()), size + float((tensor.double() ** 2).sum())
            largest = max(largest, float(gap.abs().max()))
    return {
        "loss": row["loss"],
        "held loss": row.get("held loss", row.get("held cross-entropy", float("nan"))),
        "share": row[share],
        "weights": (away / size) ** 0.5,
        "largest": largest,
    }


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    listing, shown = (
        read_listing(folder).sample(count, seed=0)
        for folder, count in ((arguments.data, arguments.limit), (arguments.val, arguments.photos))
    )
    photos, held = arguments.work / "photos.csv", arguments.work / "held.csv"
    write_list(photos, listing)
    write_list(held, shown)
    rows = []
    for one in TRAININGS:
        files = {way: train(one, way, photos, held, arguments) for way in WAYS}
        ways = {way: figures_of(file, files[FIRST], one.share) for way, file in files.items()}
        rows.append({"method": one.method, "what": one.what, "share": one.share.removeprefix("held "), "ways": ways})
    sizes = {"photos": len(listing), "held": len(shown), "batch": arguments.batch}
    return {"model": arguments.model, **sizes, "torch": torch.__version__, "rows": rows}


def write_list(path: Path, listing: Listing) -> None:
    """The photos and their labels, so that another seed sees the same ones."""
    assert listing.labels is not None
    with open(path, "w", newline="", encoding="utf-8") as table:
        rows = zip(listing.sources, listing.labels, strict=True)
        csv.writer(table).writerows([["image", "label"], *([str(source.file), listing.classes[label]] for source, label in rows)])


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.two_processes", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="training photos, one folder a class")
    parser.add_argument("--val", required=True, metavar="DIR", help="held-out photos, likewise")
    parser.add_argument("--model", default="tiny", help="the network (tiny)")
    parser.add_argument("--work", type=Path, default=Path("two-processes"), metavar="DIR", help="what was trained")
    parser.add_argument("--limit", type=int, default=2000, metavar="N", help="photos to train on")
    parser.add_argument("--photos", type=int, default=500, metavar="N", help="held-out photos")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="photos per training step")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    arguments.work.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        content = json.dumps(measured(arguments), indent=1).encode()
        write_atomic(PROCESSES, lambda file: file.write(content + b"\n"))
        write_tables()

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
