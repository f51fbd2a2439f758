"""`xai bundle`: maps, records and scores as evidence in one file."""

from __future__ import annotations

import click

from xaicli.cli.file_names import Argument
from xaicli.cli.options import option
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options

EXAMPLES = """
xai bundle xai-out/ -o evidence.zip
xai bundle xai-out/ scores.db -o evidence.zip
xai verify evidence.zip --photos photos/
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="maps, records and scores as evidence in one file")
@click.argument("path", nargs=-1, required=True, metavar="FOLDER|STORE.db...", cls=Argument)
@option("Output", "-o", "--output", default="evidence.zip", metavar="FILE", help="The zip.")
@option("Output", "--overwrite", is_flag=True, help="Replace a file that xai did not write.")
@verbosity_options
def command(path: tuple[str, ...], output: str, overwrite: bool) -> int:
    """Write records, maps and scores, the hash of each photo, versions and commands into one zip that xai verify reads.

    No photo is in it. The same results give the same bytes.
    """
    from xaicli.runs.bundle import bundle

    Verbosity.current().say(str(bundle(path, output, overwrite=overwrite)))
    return 0
