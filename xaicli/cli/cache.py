"""`xai cache`: the downloaded weights."""

from __future__ import annotations

import click

from xaicli.cli.options import format_option, option
from xaicli.cli.printing import print_rows
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.words import count, volume

EXAMPLES = """
xai cache
xai cache path
xai cache clear --yes
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="downloaded weights: list, locate or clear them")
@click.argument("what", type=click.Choice(["list", "path", "clear"]), default="list")
@format_option()
@option("Running", "--yes", is_flag=True, help="Clear without asking.")
@verbosity_options
def command(what: str, form: str, yes: bool) -> int:
    """List the downloaded weights (list), say where they are (path), or remove them (clear).

    The folder is the system's place for caches; XAI_CACHE names another.
    """
    from xaicli.cache import cache_folder, cached_files, clear_cache

    verbosity = Verbosity.current()
    if what == "path":
        click.echo(str(cache_folder()))
        return 0
    files = cached_files()
    size = f"{count(len(files), 'file')}, {volume(sum(file.size for file in files))} in {cache_folder()}"
    if what == "list":
        print_rows([{"file": file.path.name, "MB": round(file.size / 1e6, 2)} for file in files], form)
        verbosity.say(size)
        return 0
    if files and not yes:
        click.confirm(f"Remove {size}?", abort=True, err=True)
    removed = clear_cache()
    verbosity.say(f"removed {count(len(removed), 'file')}, {volume(sum(file.size for file in removed))}")
    return 0
