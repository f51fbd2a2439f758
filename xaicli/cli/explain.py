"""`xai explain`: heatmaps of photos."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.imports import no_collection
from xaicli.cli.map_options import method_option, metric_option
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
from xaicli.cli.sequence_options import sequence_options
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai explain sample:hopper
xai explain photos/ --model resnet50 --method grad-cam,rise@n_masks=2000 --sheet
xai explain cat.jpg --method grad-cam --target tabby-tiger_cat -o maps/
xai explain cat.jpg --model timm:deit_tiny_patch16_224 --method daam --steps --animate gif
xai explain film.gif --model video.py:make --frames 16 --method winit --steps
"""


def colormap_name(text: str) -> str:
    """The name of a colour map; raises UsageError for one that matplotlib does not know."""
    from xaicli.images.colour import colours

    colours(text)
    return text


@click.command(cls=Command, examples=EXAMPLES, short_help="draw what a classifier looked at")
@click.argument("images", nargs=-1, metavar="IMAGE...", cls=Argument)
@method_option(
    "Explanation",
    "Methods with their parameters: rise@n_masks=2000 (xai list methods), or your own, FILE.py:CLASS."
    "  [default: what measured best, else grad-cam]",
)
@option(
    "Explanation",
    "--target",
    default="top1",
    metavar="TARGET",
    help="top1, top5, an index, a class name, A-B (why A and not B), positive, CLASS@region=predicted, similar:PHOTO, @FILE.csv.",
)
@option("Explanation", "--seed", type=click.IntRange(min=0), default=0, help="Seed of methods that draw random numbers.")
@option("Explanation", "--score", is_flag=True, help="Score the maps too: deletion and insertion, or --metric.")
@metric_option("Explanation", "Metrics to score the maps with (xai list metrics); implies --score.")
@image_options
@sequence_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    default="xai-out",
    metavar="DIR",
    help="Folder, or URL such as s3://bucket/maps, for maps (.npy), overlays (.png) and records (.json).",
)
@format_option()
@option(
    "Output",
    "--scale",
    type=click.Choice(["image", "shared"]),
    default="image",
    help="Scale colours by each map alone, or by all maps of a method.",
)
@option(
    "Output",
    "--colormap",
    type=colormap_name,
    metavar="NAME",
    help="A matplotlib colour map.  [default: inferno; diverging for signed maps]",
)
@option("Output", "--alpha", type=click.FloatRange(0, 1), default=0.75, help="Opacity of the strongest colour.")
@option(
    "Output",
    "--look",
    type=click.Choice(["heat", "grey", "contour"]),
    default="heat",
    help="heat: colours over the photo; grey: strength as white on black; contour: lines.",
)
@bands_option
@option("Output", "--sheet", is_flag=True, help="Also one contact sheet of all, sheet.png.")
@option("Output", "--steps", is_flag=True, help="Also a strip of each map's steps (daam's blocks), or frames.")
@option("Output", "--animate", type=click.Choice(["gif", "webp"]), help="Also a moving picture of the steps, or frames.")
@option(
    "Output",
    "--step-scale",
    type=click.Choice(["common", "each"]),
    default="common",
    help="Scale the colours of steps by all steps, or by each alone, as daam's authors do.",
)
@option("Output", "--links", is_flag=True, help="Also a picture of pairs of segments as links: lime@interactions=top.")
@option("Output", "--text", is_flag=True, help="Say of each map in one sentence where it lies and what its removal does.")
@option("Output", "--facts", is_flag=True, help="Also the numbers behind that sentence, .facts.json beside each map.")
@option("Output", "--overwrite", is_flag=True, help="Make everything again, and replace other results.")
@figure_options("Also a contact sheet for a paper", columns=False)
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Say what would be done, and its cost.")
@cluster_options
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], photos: PhotoOptions, model: ModelOptions, form: str, **words: Any) -> int:
    """Explain what a classifier looked at, as heatmaps over the photos.

    IMAGE is a file, a folder, a glob, @list.txt, - for paths on standard input, or sample:hopper; with --frames, or for a network
    that reads sequences, a moving picture, a video, or a folder of frames. Writes for each photo and
    method the raw map (.npy), an overlay on the photo (.png) and a record (.json). Running again makes only what is missing.
    """
    with no_collection():
        from xaicli.runs.explain import explain

    progress = CommandProgress(stream=form == "jsonl")
    with printing_partial(form):
        made = explain(
            images, model.named, precision=model.precision, command=command_line(), progress=progress, **photos.words(), **words
        )
    print_result(made, form)
    return 4 if made.errors else 0
