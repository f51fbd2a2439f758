"""`xai bank`: a memory bank of features for self-supervised networks."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xaicli.cli.options import model_options, open_classifier, option
from xaicli.cli.printing import FORMATS, print_rows
from xaicli.cli.progress import progress_bar
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count, span
from xaicli.errors import XaiError

if TYPE_CHECKING:
    from xaicli.runs.bank import BankRun

EXAMPLES = """
xai bank train/ --model timm:vit_small_patch16_224.dino -o dino.safetensors
xai bank photos/ --labels labels.csv --model net.py:backbone -o bank.safetensors
xai explain cat.jpg --model timm:vit_small_patch16_224.dino --method daam@target=features@bank=dino.safetensors
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="a memory bank of features for self-supervised networks")
@click.argument("folder", type=click.Path(path_type=str))
@option("Photos", "--labels", type=click.Path(path_type=str), metavar="FILE", help="CSV: image, label, in place of folder names.")
@option("Photos", "--per-class", type=click.IntRange(min=1), metavar="N", help="The first N photos of each class only.")
@model_options
@option(
    "Output",
    "-o",
    "--output",
    "path",
    default="bank.safetensors",
    metavar="FILE",
    help="The bank: features, labels, and their model.",
)
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="table", help="What stdout shows.")
@option("Output", "--overwrite", is_flag=True, help="Make it again, and replace another bank.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--batch-size", type=click.IntRange(min=1), metavar="N", help="Photos a batch.  [default: 16]")
@verbosity_options
def command(folder: str, **given: Any) -> int:
    """Keep the features of labelled photos, for methods that ask what a network's features mean.

    FOLDER holds a folder a class, FOLDER/CLASS/photo.jpg. The outputs of --model are taken as its features: a timm network
    without head (such as one whose weights are called .dino), or FILE.py:FUNCTION that returns one. A run that was stopped goes
    on where it was. The bank is of use with the same network alone; daam@target=features@bank=FILE reads it.
    """
    from xaicli.runs.bank import BATCH, BankRun
    from xaicli.runs.labelled import find_labelled

    photos = find_labelled(folder, given["labels"], given["per_class"])
    classifier = open_classifier(given)
    verbosity = Verbosity.current()
    if classifier.classes:
        verbosity.warn(f"{classifier.name} is a classifier: its scores of classes are kept, not its features")
    run = BankRun(photos, classifier, Path(given["path"]), given["overwrite"], given["keep_going"], given["batch_size"] or BATCH)
    if run.is_complete():
        verbosity.say(f"{run.path} is complete (--overwrite makes it again)")
        errors: list[XaiError] = []
    else:
        errors = carry_out(run)
    told = describe(run)
    print_rows([told], given["form"])
    return 4 if errors else 0


def carry_out(run: BankRun) -> list[XaiError]:
    """Make the bank; returns what failed. Raises the failure at which a run ends that does not go on past it."""
    from xaicli.runs.photos import Failure

    verbosity, start = Verbosity.current(), time.monotonic()
    earlier = len(run.finished()) if not run.overwrite else 0
    if earlier:
        verbosity.say(f"{count(earlier, 'photo')} finished before")
    errors: list[XaiError] = []
    with closing(run.run()) as results:
        for item in progress_bar(results, len(run.photos.sources), "features", batch=run.batch_size):
            if isinstance(item, Failure):
                errors.append(item.error)
                if run.keep_going:
                    verbosity.warn(item.error.found)
    if errors and not run.keep_going:
        raise errors[0]
    done = len(run.photos.sources) - len(errors)
    verbosity.say(f"{count(done, 'photo')} in {span(time.monotonic() - start)}; daam@target=features@bank={run.path} reads them")
    return errors


def describe(run: BankRun) -> dict[str, Any]:
    """What stdout says of a bank that is complete."""
    from xaicli.models.feature_bank import read_bank

    bank = read_bank(run.path)
    return {
        "bank": str(run.path),
        "photos": len(bank.labels),
        "classes": len(bank.classes),
        "features": bank.features.shape[1],
        "model": bank.model,
        "fingerprint": bank.fingerprint,
    }
