"""`xai study`: what a method that trains a network is worth, against the same network without it."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import batch_size_option, device_option, format_option, option
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai study lfi-cam --data train/ --val val/ -o study/
xai study lfi-cam --data photos/ --limit 2000 --epochs 5 --seeds 1 --precision bf16
xai study lfi-cam --data train.csv --hold-out 1000 --model resnet18 --resize 64 --crop 64 --format markdown
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="a method's branch against the same network without it")
@click.argument("method", cls=Argument)
@option("Photos", "--data", required=True, metavar="DIR", help="FOLDER/CLASS/photo.jpg, FILE.csv, or @list.txt.")
@option("Photos", "--val", metavar="DIR", help="Held-out photos.  [default: one in fifty of --data, at most 2,000]")
@option("Photos", "--hold-out", type=click.IntRange(min=1), metavar="N", help="Hold out N photos of --data.")
@option("Photos", "--limit", type=click.IntRange(min=1), default=20_000, metavar="N", help="Train on N photos.")
@option(
    "Photos", "--photos", type=click.IntRange(min=1), default=500, metavar="N", help="Held-out photos whose maps are compared."
)
@option("Model", "--model", default="tiny", metavar="SPEC", help="The architecture, trained from the start.")
@option("Model", "--classes", metavar="FILE", help="Names of the classes.")
@option("Model", "--resize", type=click.IntRange(min=1), metavar="N", help="Resize the shorter side.")
@option("Model", "--crop", type=click.IntRange(min=1), metavar="N", help="Crop the centre.")
@device_option
@option(
    "Model",
    "--precision",
    type=click.Choice(["auto", "bf16", "fp32"]),
    default="auto",
    help="auto: fp32. bf16: half the time if the processor or GPU computes in bf16, no gain otherwise.",
)
@option("Training", "--epochs", type=click.IntRange(min=1), default=30, metavar="N", help="Passes over all photos.")
@option("Training", "--lr", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Largest learning rate.")
@option("Training", "--seeds", type=click.IntRange(min=1), default=3, metavar="N", help="Trainings of each kind of network.")
@option("Output", "-o", "--output", default="xai-study", metavar="DIR", help="The folder of all trainings.")
@format_option()
@batch_size_option("by the method", "Photos per training step.")
@option("Running", "--save-every", type=click.FloatRange(min=0), default=300.0, metavar="SECONDS", help="Time between snapshots.")
@verbosity_options
def command(method: str, form: str, **words: Any) -> int:
    """Is a method's branch worth its place? Trains the same network with it, without it, and with a plain head as large.

    METHOD is lfi-cam. All networks see the same photos under one schedule, with several seeds. The table shows top-1 of each,
    with the branch, without it (none) and with a plain head as large, and how stable the attention is: iou says how much of
    what two maps mark is the same, for the maps of two trainings whose settings differ; "of another photo" is what maps of
    two photos share anyway. Intervals are over photos. The same command goes on where it was stopped; with 20,000 photos it
    takes some hours.
    """
    from xaicli.passes.device import threads
    from xaicli.training.study import study

    click.get_current_context().with_resource(threads())
    print_result(study(method, progress=CommandProgress(), **words), form)
    return 0
