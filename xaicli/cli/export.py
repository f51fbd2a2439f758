"""`xai export`: the rows of a store as CSV, JSON lines or Parquet."""

from __future__ import annotations

from typing import BinaryIO, cast

import click

from xaicli.cli.file_names import Argument
from xaicli.cli.options import option
from xaicli.cli.streams import ResultBytes
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options

EXAMPLES = """
xai export scores.db -o scores.csv
xai export scores.db --format jsonl | head
xai export scores.db --metric insertion --no-controls -o insertion.parquet
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="rows of a store as CSV, JSON lines or Parquet")
@click.argument("store", metavar="STORE.db", cls=Argument)
@option("Output", "-o", "--output", metavar="FILE", help="The file; its ending decides the format.  [default: stdout]")
@option(
    "Output",
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="The format.  [default: by ending, else csv]",
)
@option("Rows", "--method", multiple=True, metavar="LABEL", help="Only rows of these methods.")
@option("Rows", "--metric", multiple=True, metavar="LABEL", help="Only rows of these metrics.")
@option("Rows", "--controls/--no-controls", default=True, help="Include the rows of controls.")
@option("Output", "--overwrite", is_flag=True, help="Replace a file that xai did not write.")
@verbosity_options
def command(
    store: str,
    output: str | None,
    form: str | None,
    method: tuple[str, ...],
    metric: tuple[str, ...],
    controls: bool,
    overwrite: bool,
) -> int:
    """Write the rows of a store: image, method, target, metric, value, status, definition, subject, seed, then read-outs."""
    from xaicli.runs.export import export

    written = export(
        store,
        output or cast("BinaryIO", ResultBytes()),
        format=form,
        method=method,
        metric=metric,
        controls=controls,
        overwrite=overwrite,
    )
    if output:
        Verbosity.current().say(str(written))
    return 0
