"""`xai aggregate`: the maps of a data set, summed up."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.map_options import map_options
from xaicli.cli.options import (
    ModelOptions,
    PhotoOptions,
    batch_size_option,
    format_option,
    image_options,
    model_options,
    option,
)
from xaicli.cli.printing import print_result
from xaicli.cli.truth_options import truth_options
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai aggregate photos/ --model resnet50 --method grad-cam,layer-cam
xai aggregate photos/ --method grad-cam --truth boxes.csv --normalize
xai aggregate fields/ --model bands.py:make --method input-x-gradient@channels=each
"""
FORMATS = ("table", "markdown", "latex", "json", "csv")


@click.command(cls=Command, examples=EXAMPLES, short_help="mean maps of a data set: position, locality, channels")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@map_options("Maps")
@option("Maps", "--seed", type=click.IntRange(min=0), default=0, help="Seed of methods that draw random numbers.")
@truth_options("Maps", "Marked objects, to which maps are aligned")
@option("Maps", "--normalize", is_flag=True, help="Divide each map by its mean magnitude first.")
@option("Maps", "--grid", type=click.IntRange(2, 64), default=16, help="Cells per side of the mean maps.")
@image_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    default="xai-out",
    metavar="DIR",
    help="Folder for maps, as of xai explain, and aggregate.html, .json and .METHOD.png.",
)
@format_option(FORMATS)
@option("Output", "--overwrite", is_flag=True, help="Make everything again, and replace other results.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Say what would be done, and its cost.")
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, model: ModelOptions, form: str, **words: Any) -> int:
    """Sum up the maps of a data set: for all photos and for each class the mean map, its spread, where it lies, how local it is.

    Photos are taken one by one, so that memory does not grow with their number. Running again makes only the maps that are
    missing.
    """
    from xaicli.runs.aggregate import aggregate

    progress = CommandProgress()
    made = aggregate(
        images, model.open, precision=model.precision, command=command_line(), progress=progress, **photos.words(), **words
    )
    print_result(made, form)
    return 4 if made.errors else 0
