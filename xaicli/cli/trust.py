"""`xai trust`: which methods find what is really there, in your network."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_line import command_line
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
xai trust resnet50 photos/ --method grad-cam,layer-cam,rise@n_masks=1000
xai trust net.py:make photos/ --most-passes 1000 --budget 5000 --format markdown
xai trust tiny photos/ --check patch,absence --plantings 4
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="which methods find what is really there")
@click.argument("model", metavar="MODEL", shell_complete=complete_model, cls=Argument)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", cls=Argument)
@recursive_option
@limit_option
@option(
    "Checks",
    "--method",
    metavar="SPEC,...",
    shell_complete=complete_definition("method"),
    help="Methods.  [default: grad-cam, layer-cam, integrated-gradients, occlusion, rise@n_masks=1000, as far as they run]",
)
@option("Checks", "--most-passes", type=float, metavar="N", help="In place of --method: all that take at most N passes a photo.")
@option(
    "Checks",
    "--check",
    default="patch,absence,quarters,random,fidelity",
    metavar="LIST",
    help="What is checked.",
)
@option("Checks", "--plantings", type=click.IntRange(min=1), default=2, help="Patches, each of its own look and size.")
@option(
    "Checks",
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Passes a method may explain with in all; a costlier one is scored on fewer photos.  [default: no bound]",
)
@option("Checks", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers.")
@option("Model", "--weights", type=click.Path(path_type=str), metavar="FILE", help="Weights for MODEL.  [default: its own]")
@device_option
@format_option(("table", "markdown", "json", "csv"))
@option("Output", "-o", "--output", default="xai-out/trust", metavar="DIR", help="Folder of the page and of the store of scores.")
@verbosity_options
def command(model: str, images: tuple[str, ...], form: str, **words: Any) -> int:
    """Plant faults whose truth is known in copies of MODEL and of photos, and measure how often each method finds them.

    A pasted patch decides, or decides nothing; four photos stand in one; weights turn random; insertion and deletion run beside
    random maps. A run that was stopped goes on where it was.
    """
    from xaicli.passes.device import threads
    from xaicli.runs.trust import trust

    click.get_current_context().with_resource(threads())
    found = trust(model, images, command=command_line(), progress=CommandProgress(), **words)
    print_result(found, form)
    return 0
