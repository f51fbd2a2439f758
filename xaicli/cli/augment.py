"""`xai augment`: copies of photos without what an audit found in them."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import PhotoOptions, format_option, image_options, option
from xaicli.cli.printing import print_result, printing_partial
from xaicli.cli.truth_options import truth_option
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai augment photos/ --recursive --audit xai-out --cluster 1 -o photos-without-mark
xai augment photos/ --audit xai-out --region map --members --fill mean
xai augment photos/ --audit xai-out --region background --truth masks/ --fill other
"""
REGIONS = ("cluster", "map", "background")
FILLS = ("inpaint", "blur", "mean", "noise", "other")


@click.command(cls=Command, examples=EXAMPLES, short_help="copies of photos without what an audit found in them")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@option("Region", "--audit", required=True, metavar="DIR|FILE", help="The folder of an audit, or its audit.json.")
@option("Region", "--cluster", type=click.IntRange(min=1), default=1, metavar="N", help="The cluster, by its number.")
@option(
    "Region",
    "--region",
    type=click.Choice(REGIONS),
    default="cluster",
    help="cluster: its place, in every photo; map: where each photo's own map is strong; background: all but that.",
)
@option("Region", "--members", is_flag=True, help="Only photos of that cluster.  [default: all, so that no class stands out]")
@option(
    "Region",
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    help="How strong a map is in the region, as a share of its largest value.",
)
@option("Region", "--grow", type=click.IntRange(0, 8), default=1, help="Cells around a cluster's mark, of 16 per side.")
@truth_option("Region", "For the background: the objects that people marked, in place of the maps")
@option("Fill", "--fill", type=click.Choice(FILLS), default="inpaint", help="other: what the next photo shows there.")
@option("Fill", "--seed", type=click.IntRange(min=0), default=0, help="Seed of the noise.")
@option("Fill", "--labels", metavar="FILE.csv", help="CSV of image and label.  [default: the audit's, then names of folders]")
@image_options
@option(
    "Output",
    "-o",
    "--output",
    default="xai-augmented",
    metavar="DIR",
    help="Folder for the copies and labels.csv, of this run alone.",
)
@format_option(("table", "json", "csv"))
@option("Output", "--most", type=click.IntRange(min=0), default=20, metavar="N", help="Photos in the printed table.")
@option("Output", "--overwrite", is_flag=True, help="Replace files that xai did not write.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Write nothing; say what would be written.")
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, form: str, **words: Any) -> int:
    """Copy photos with a region filled, and list their labels beside them, ready for xai train.

    By default the place of the first cluster of an audit is filled in every photo, from the colours around it. Photos of other
    classes are filled too: if only one class were, the fill itself would become a mark of that class.
    """
    from xaicli.runs.augment import augment

    with printing_partial(form):
        made = augment(images, progress=CommandProgress(), **photos.words(), **words)
    print_result(made, form)
    return 4 if made.errors else 0
