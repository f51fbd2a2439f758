"""`xai report`: one HTML page of a store."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import figure_options, option
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai report scores.db -o report.html
xai report scores.db --photos photos/ -o report.html
xai report scores.db --most 500 -o report.html
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="one HTML page: table, curves, gallery")
@click.argument("store", metavar="STORE.db", cls=Argument)
@option("Output", "-o", "--output", default="report.html", metavar="FILE.html", help="The page.")
@option("Photos", "--photos", multiple=True, metavar="DIR", help="Folder to search for photos that have moved.")
@option("Photos", "--most", type=click.IntRange(min=1), default=5000, metavar="N", help="Photos in the gallery, worst first.")
@option("Output", "--overwrite", is_flag=True, help="Replace a file that xai did not write.")
@figure_options("Also the mean curves for a paper")
@verbosity_options
def command(store: str, output: str, photos: tuple[str, ...], most: int, overwrite: bool, **figure: Any) -> int:
    """Write one self-contained page of a store: the table of means, curves, and a gallery of photos, worst cases first."""
    from xaicli.runs.report import report

    progress = CommandProgress()
    progress.say(str(report(store, output, photos=photos, most=most, overwrite=overwrite, progress=progress, **figure)))
    return 0
