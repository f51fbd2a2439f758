"""`xai parity`: does an export, or another network of the same classes, look where the original looks."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import (
    complete_definition,
    complete_model,
    device_option,
    format_option,
    limit_option,
    option,
    recursive_option,
)
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai parity resnet50 onnx:net.onnx photos/
xai parity net.py:make net.int8.onnx photos/ --method rise@n_masks=2000,occlusion
xai parity net.py:make net.py:pruned photos/ --method grad-cam --format github
"""

FORMATS = ("table", "markdown", "json", "junit", "github")


@click.command(cls=Command, examples=EXAMPLES, short_help="does an export look where the original looks")
@click.argument("model", metavar="MODEL", shell_complete=complete_model, cls=Argument)
@click.argument("other", metavar="OTHER", shell_complete=complete_model, cls=Argument)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", cls=Argument)
@recursive_option
@limit_option
@option(
    "Explaining",
    "--method",
    metavar="SPEC,...",
    shell_complete=complete_definition("method"),
    help="Methods, the same on both.  [default: rise@n_masks=1000,occlusion, and grad-cam where both have layers]",
)
@option(
    "Explaining",
    "--metric",
    default="insertion",
    metavar="SPEC,...",
    shell_complete=complete_definition("metric"),
    help="Scores of the other's maps on the original.",
)
@option("Explaining", "--target", default="top1", metavar="TARGET", help="What is explained; the original decides.")
@option("Explaining", "--seed", type=click.IntRange(min=0), default=0, help="Seed of stochastic methods.")
@option("Model", "--classes", type=click.Path(path_type=str), metavar="FILE", help="Class names.  [default: the model's own]")
@device_option
@format_option(FORMATS)
@option("Output", "-o", "--output", default="xai-out/parity", metavar="DIR", help="Folder of the page and pictures of pairs.")
@option("Gate", "--strict", is_flag=True, help="Exit 1 also if a rule is inconclusive.")
@verbosity_options
def command(model: str, other: str, images: tuple[str, ...], form: str, **words: Any) -> int:
    """Compare OTHER (an export, a quantised, pruned or distilled network) with MODEL on photos: decisions, probabilities, and
    where both look.

    Each photo agrees, or its decision moved, or OTHER looks elsewhere although it decides the same: its map moved further than
    MODEL's own maps move by chance. Exit code 1 where a rule fails. A program without a view of its own (ONNX,
    OpenVINO, TensorFlow Lite, .pt2, TorchScript) gets MODEL's.
    """
    from xaicli.passes.device import threads
    from xaicli.runs.parity import parity

    click.get_current_context().with_resource(threads())
    found = parity(model, other, images, progress=CommandProgress(), **words)
    print_result(found, form)
    return 1 if found.failed else 0
