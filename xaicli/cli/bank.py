"""`xai bank`: a memory bank of features for self-supervised networks."""

from __future__ import annotations

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import ModelOptions, batch_size_option, format_option, model_options, option
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai bank train/ --model timm:vit_small_patch16_224.dino -o dino.safetensors
xai bank photos/ --labels labels.csv --model net.py:backbone -o bank.safetensors
xai explain cat.jpg --model timm:vit_small_patch16_224.dino --method daam@target=features@bank=dino.safetensors
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="a memory bank of features for self-supervised networks")
@click.argument("folder", type=click.Path(path_type=str), cls=Argument)
@option(
    "Photos",
    "--labels",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="CSV with columns image, label, instead of folder names.",
)
@option("Photos", "--per-class", type=click.IntRange(min=1), metavar="N", help="Only the first N photos of each class.")
@model_options
@option(
    "Output",
    "-o",
    "--output",
    default="bank.safetensors",
    metavar="FILE",
    help="The bank: features, labels and their model.",
)
@format_option()
@option("Output", "--overwrite", is_flag=True, help="Make the bank again, or replace another one.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@batch_size_option()
@verbosity_options
def command(
    folder: str,
    output: str,
    labels: str | None,
    per_class: int | None,
    overwrite: bool,
    keep_going: bool,
    batch_size: int | None,
    form: str,
    model: ModelOptions,
) -> int:
    """Keep the features of labelled photos, for methods that ask what a network's features mean.

    FOLDER holds a folder a class, FOLDER/CLASS/photo.jpg. The outputs of --model are taken as its features: a timm network
    without head (such as one whose weights are called .dino), or FILE.py:FUNCTION that returns one. A run that was stopped goes
    on where it was. The bank is of use with the same network alone; daam@target=features@bank=FILE reads it.
    """
    from xaicli.runs.bank import build_bank

    built = build_bank(
        folder,
        model.open,
        output,
        labels=labels,
        per_class=per_class,
        overwrite=overwrite,
        keep_going=keep_going,
        batch_size=batch_size,
        progress=CommandProgress(),
    )
    print_result(built, form)
    return 4 if built.errors else 0
