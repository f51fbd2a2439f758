"""`xai merge`: stores of shards into one."""

from __future__ import annotations

import click

from xaicli.cli.file_names import Argument
from xaicli.cli.options import option
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options

EXAMPLES = """
xai merge a.db b.db -o all.db
xai merge shard-*.db -o all.db
xai merge shard-*.db -o all.db --overwrite
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="join the stores of shards")
@click.argument("stores", nargs=-1, metavar="STORE.db...", cls=Argument)
@option("Output", "-o", "--output", required=True, metavar="ALL.db", help="The joined store.")
@option("Output", "--overwrite", is_flag=True, help="Replace an existing store.")
@verbosity_options
def command(stores: tuple[str, ...], output: str, overwrite: bool) -> int:
    """Join stores, such as those of the shards of one job. A row that several hold is kept once; contradictions are refused."""
    from xaicli.runs.merge import merge

    Verbosity.current().say(str(merge(stores, output, overwrite=overwrite)))
    return 0
