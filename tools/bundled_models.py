"""The networks and explainers that ship with the package: how they were trained, and the command that does it again.

    python -m tools.bundled_models --data train/ --val val/ --classes classes.csv

trains what is missing, in order, and puts it beside the code of the package; a run that was stopped goes on where it was. With
`--card docs/models.md` it then measures all of it on the held-out photos and writes the model card.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.model_card import write_card
from tools.resumable_work import exit_code_of, say
from xaicli.errors import UsageError
from xaicli.models import checkpoint
from xaicli.models.checkpoint import ENDING
from xaicli.models.checkpoint_content import hash_as_trained
from xaicli.training.curve import curve_path
from xaicli.training.data import read_listing
from xaicli.training.loop import Epoch
from xaicli.training.plan import prepare
from xaicli.training.run import TrainRun
from xaicli.training.train_request import TrainRequest

SEED = 0


@dataclass(frozen=True)
class BundledFile:
    """How one file of the bundle is trained: `xai train METHOD --model MODEL`, and what is not as the method's own recipe says.

    stem: the file's name, without its ending; network: whether it is one, or explains the network `model`; photos: how many it is
    trained on, None for all.
    """

    stem: str
    method: str
    model: str
    network: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    photos: int | None = None

    @property
    def file(self) -> str:
        return self.stem + ENDING


OF_T_TAME: dict[str, Any] = {"epochs": 2, "lr": 3e-2}
OF_P_TAME: dict[str, Any] = {"epochs": 2, "lr": 3e-3}
RECIPES = (
    BundledFile("tiny", "classifier@branch=true@early=0.85", "tiny", network=True, overrides={"epochs": 14}),
    BundledFile("tiny-vit", "classifier@teacher=tiny@share=0.7@early=0.85", "tiny-vit", network=True, overrides={"epochs": 12}),
    BundledFile("tiny.t-tame", "t-tame@area=1", "tiny", overrides=OF_T_TAME, photos=50_000),
    BundledFile("tiny.p-tame", "p-tame@auxiliary=tiny@area=0.6", "tiny", overrides=OF_P_TAME, photos=20_000),
    BundledFile("tiny-vit.t-tame", "t-tame@area=1", "tiny-vit", overrides=OF_T_TAME, photos=60_000),
    BundledFile("tiny-vit.p-tame", "p-tame@auxiliary=tiny@area=0.6", "tiny-vit", overrides=OF_P_TAME, photos=30_000),
)
"""In the order in which they are trained: the second network learns from the first, the rest explain the two. The heads' rates,
epochs and weights of the area are those that `python -m tools.head_search` found best."""


def request_of(recipe: BundledFile, arguments: argparse.Namespace) -> TrainRequest:
    """The training run of one file."""
    stated = dict(arguments.epochs)
    epochs = {"epochs": stated[recipe.stem]} if recipe.stem in stated else {}
    options = {"device": arguments.device}
    return TrainRequest(
        method=recipe.method,
        data=arguments.data,
        val=arguments.val,
        model=recipe.model,
        output=arguments.work / recipe.file,
        overrides={**recipe.overrides, **epochs},
        model_options={**options, "classes": arguments.classes} if recipe.network else options,
        limit=arguments.limit or recipe.photos,
        seed=SEED,
        bf16=arguments.precision == "bf16",
        half=True,
    )


def make(recipe: BundledFile, arguments: argparse.Namespace) -> None:
    """Train one file unless it is there, and put it where the package looks for it."""
    request = request_of(recipe, arguments)
    assert request.output is not None
    if not request.output.is_file():
        trained(request)
    place = checkpoint.BUNDLED / recipe.file
    # A file that lies there already holds the figures that were measured of it, too.
    if not place.is_file() or hash_as_trained(place) != hash_as_trained(request.output):
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(request.output, place)


def trained(request: TrainRequest) -> Path:
    """The file of a training, which is carried out unless it is complete."""
    run = prepare(request, notice=say)
    if not run.complete:
        carry_out(run)
    return run.output


def carry_out(run: TrainRun) -> None:
    size = run.training.batches.batch_size
    say(f"{run.output.stem}: {len(run.listing):,} photos, {run.training.total:,} steps of {size} photos")
    start, before = time.monotonic(), None
    for event in run.events():
        if isinstance(event, Epoch):
            done, seconds = run.training.done - (before or 0), time.monotonic() - start
            speed = done * size / max(seconds, 1e-9)
            figures = "  ".join(f"{name} {value:.4g}" for name, value in event.row.items())
            say(f"{run.output.stem}  epoch {event.number}/{event.total}  {figures}  {speed:.0f} photos/s")
        elif before is None:
            before = event.done - 1
    say(f"{run.output.stem} is done; curves in {curve_path(run.output)}")


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bundled_models", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="training photos, one folder a class")
    parser.add_argument("--val", required=True, metavar="DIR", help="held-out photos, likewise; boxes.csv beside them")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes (default: of the folders)")
    parser.add_argument(
        "--work", type=Path, default=Path("bundled-models"), metavar="DIR", help="snapshots, finished files, scores"
    )
    parser.add_argument("--only", default="", metavar="NAMES", help="tiny, tiny-vit, tiny.t-tame, … alone; or none")
    parser.add_argument("--epochs", action="append", type=epochs_of, default=[], metavar="NAME=N", help="not the recipe's")
    parser.add_argument("--limit", type=int, metavar="N", help="train on N photos (to try the command out)")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--card", type=Path, metavar="FILE", help="write the model card afterwards")
    parser.add_argument("--photos", type=int, default=500, metavar="N", help="held-out photos that explainers are scored on")
    return parser.parse_args(words)


def epochs_of(text: str) -> tuple[str, int]:
    """`NAME=N`; raises ValueError, which the parser puts into words."""
    name, _, number = text.partition("=")
    if name not in [recipe.stem for recipe in RECIPES]:
        raise ValueError(name)
    return name, int(number)


def chosen(only: str) -> list[BundledFile]:
    """The recipes that are named, all where none is; raises UsageError for an unknown name."""
    stems = [recipe.stem for recipe in RECIPES]
    wanted = [part.strip() for part in only.split(",") if part.strip()]
    if wanted == ["none"]:
        return []
    for name in wanted:
        if name not in stems:
            raise UsageError(f"--only {name}", expected=", ".join(stems))
    return [recipe for recipe in RECIPES if not wanted or recipe.stem in wanted]


def main(words: Sequence[str] | None = None) -> int:
    """Train, install, describe; returns the exit code."""
    arguments = arguments_of(words)

    def work() -> None:
        for recipe in chosen(arguments.only):
            make(recipe, arguments)
        if arguments.card is not None:
            networks = [recipe for recipe in RECIPES if recipe.network]
            explained = {recipe.stem: explainers_of(recipe.stem) for recipe in networks}
            write_card(arguments.card, read_listing(arguments.val), explained, arguments.photos, arguments.work)

    return exit_code_of(work)


def explainers_of(network: str) -> list[str]:
    """The methods that are trained for a network, its own among them."""
    trained = [recipe.method.partition("@")[0] for recipe in RECIPES if recipe.model == network and not recipe.network]
    own = next(recipe for recipe in RECIPES if recipe.stem == network)
    return ["lfi-cam", "lfi-cam@weights=equal", *trained] if "branch=true" in own.method else trained


if __name__ == "__main__":
    sys.exit(main())
