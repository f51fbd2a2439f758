"""`xai compare`: methods side by side, with scores and conclusions from their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.imports import no_collection
from xaicli.cli.options import (
    ModelOptions,
    PhotoOptions,
    bands_option,
    batch_size_option,
    cluster_options,
    figure_options,
    format_option,
    image_options,
    model_options,
    option,
)
from xaicli.cli.printing import print_result, printing_partial
from xaicli.cli.score_options import score_options
from xaicli.cli.sequence_options import sequence_options
from xaicli.cli.verbosity import Command, verbosity_options
from xaicli.errors import UsageError
from xaicli.grammar import names_in

EXAMPLES = """
xai compare photos/ --method grad-cam,rise@n_masks=1000
xai compare dog.jpg --method grad-cam,layer-cam,occlusion --no-controls
xai compare photos/ --model tiny,tiny-vit --method grad-cam,t-tame,daam
xai compare photos/ --method grad-cam,rise --metric insertion,deletion,average-drop@area=50@mask=binary
"""

FORMATS = ("table", "markdown", "latex", "json", "csv")


@click.command(cls=Command, examples=EXAMPLES, short_help="methods side by side, with scores")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@score_options
@image_options
@sequence_options
@model_options
@option("Output", "-o", "--output", default="xai-out", metavar="DIR", help="Folder for compare.png and compare.db.")
@bands_option
@format_option(FORMATS)
@figure_options("Also the mean curves for a paper")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Score nothing; say how many passes it takes, and how long.")
@cluster_options
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, model: ModelOptions, form: str, **words: Any) -> int:
    """Compare methods: a contact sheet of photos and maps with scores under each, and a table of means.

    With several photos the table has 95 % intervals, differences are paired and corrected by Holm, and sentences say what may be
    concluded. Rows are kept in compare.db, so that running again does only what is missing. Several models (--model A,B) have a
    table and a sheet each, of the methods that run on them.
    """
    with no_collection():
        from xaicli.runs.compare import compare

    with printing_partial(form):
        models, progress = [one.named for one in models_of(model)], CommandProgress()
        table = compare(
            images, models, precision=model.precision, command=command_line(), progress=progress, **photos.words(), **words
        )
    print_result(table, form)
    return 4 if table.errors else 0


def models_of(options: ModelOptions) -> list[ModelOptions]:
    """The options for each named model; raises UsageError for an option that makes sense for one model alone."""
    models = names_in(options.model, "--model") if options.model else []
    if len(models) < 2:
        return [options]
    for name in ("weights", "classes"):
        if getattr(options, name):
            raise UsageError(f"--{name} with {len(models)} models", expected="one", hint="Compare each in a run of its own.")
    return [replace(options, model=model) for model in dict.fromkeys(models)]
