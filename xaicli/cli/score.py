"""`xai score`: numbers for heatmaps, into a store."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.imports import no_collection
from xaicli.cli.options import (
    ModelOptions,
    PhotoOptions,
    batch_size_option,
    cluster_options,
    format_option,
    image_options,
    model_options,
    option,
)
from xaicli.cli.printing import print_result, printing_partial
from xaicli.cli.score_options import score_options
from xaicli.cli.sequence_options import sequence_options
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai score photos/ --model resnet50 --method grad-cam,rise@n_masks=2000 -o scores.db
xai score @val.txt --method grad-cam --metric deletion,insertion,average-drop@area=50@mask=binary -o scores.db
xai score photos/ --method grad-cam --fail-under insertion=0.5
xai score photos/ --method grad-cam,rise --ray auto -o scores.db
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="score heatmaps of many photos into a store")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@score_options
@option(
    "Scores", "--maps", metavar="DIR", help="Score maps that another program wrote: STEM.npy, or STEM.LABEL.npy, for each photo."
)
@image_options
@sequence_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    metavar="FILE.db",
    help="The store; running again does only what is missing.  [default: none, stdout alone]",
)
@format_option(text="What stdout shows; jsonl streams rows.")
@option("Output", "--curves/--no-curves", default=True, help="Keep the curves under the scores.")
@option("Output", "--keep-maps/--no-maps", default=True, help="Keep small maps for xai report.")
@option(
    "Gate",
    "--fail-under",
    multiple=True,
    metavar="METRIC=X",
    help="Exit 1 unless the lower end of a method's interval is at least X.",
)
@option(
    "Gate",
    "--fail-over",
    multiple=True,
    metavar="METRIC=X",
    help="Exit 1 unless the upper end of a method's interval is at most X.",
)
@option("Running", "--shard", metavar="I/N", help="Only the I-th of N parts of the photos; xai merge joins the stores.")
@cluster_options
@option("Cluster", "--sink", metavar="parquet:DIR", help="Actors write rows into files of their own, instead of -o.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Score nothing; say how many passes it takes, and how long.")
@option("Running", "--estimate", is_flag=True, help="Score a few photos, keep nothing; say how long all take, on --ray too.")
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, model: ModelOptions, form: str, **words: Any) -> int:
    """Score the heatmaps of many photos: deletion and insertion, or any metrics.

    A row is one photo, method, target and metric. With -o rows go into an SQLite store, one transaction a photo: a run that was
    killed goes on where it stopped. A table of means with 95 % intervals comes last.
    """
    with no_collection():
        from xaicli.runs.score import score

    progress = CommandProgress(stream=form == "jsonl")
    with printing_partial(form):
        table = score(
            images, model.named, precision=model.precision, command=command_line(), progress=progress, **photos.words(), **words
        )
    print_result(table, form)
    for line in table.failures:
        click.echo(f"FAIL  {line}", err=True)
    return 1 if table.failed else 4 if table.errors else 0
