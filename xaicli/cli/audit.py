"""`xai audit`: photos that a classifier gets right for the wrong reason, and groups of alike maps."""

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
xai audit photos/ --recursive --model resnet50
xai audit photos/ --model resnet50 --truth masks/ --labels val.csv
xai audit photos/ --method grad-cam,gae,rise@n_masks=500 --by disagreement --most 50
"""
ORDERS = ("suspicion", "disagreement", "outside", "border", "corner", "doubt")


@click.command(cls=Command, examples=EXAMPLES, short_help="photos that are right for the wrong reason, and groups of maps")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@map_options("Audit", "The first one's maps are grouped, all are compared.  [default: grad-cam,layer-cam,input-x-gradient]")
@option("Audit", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers.")
@truth_options("Audit")
@option("Audit", "--labels", metavar="FILE.csv", help="CSV of image and label.  [default: names of folders that are classes]")
@option("Audit", "--clusters/--no-clusters", default=True, help="Group the maps of each class; needs scikit-learn.")
@option("Audit", "--by", type=click.Choice(ORDERS), default="suspicion", help="What photos are ordered by, most first.")
@option("Audit", "--most", type=click.IntRange(min=0), default=20, metavar="N", help="Photos in the printed table.")
@image_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    default="xai-out",
    metavar="DIR",
    help="Folder for maps, as of xai explain, audit.html and audit.json.",
)
@format_option(("table", "json"))
@option("Output", "--overwrite", is_flag=True, help="Make everything again, and replace other results.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Say what would be done, and its cost.")
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, model: ModelOptions, form: str, **words: Any) -> int:
    """Find photos that a classifier gets right for the wrong reason, or finds ambiguous.

    Photos are ranked by how much methods disagree and by how much of the map lies at the border, in a corner, or outside the
    marked object. The maps of each class are grouped (SpRAy); groups whose maps lie at one place of the border come first: that
    is what a watermark looks like. Running again makes only the maps that are missing.
    """
    from xaicli.runs.audit import audit

    progress = CommandProgress()
    made = audit(
        images, model.open, precision=model.precision, command=command_line(), progress=progress, **photos.words(), **words
    )
    print_result(made, form)
    return 4 if made.errors else 0
