"""`xai config show`: which defaults are set, and where."""

from __future__ import annotations

import click

from xaicli.cli.defaults import SETTINGS, config_path, settings
from xaicli.cli.options import format_option
from xaicli.cli.printing import print_rows
from xaicli.cli.verbosity import Command, verbosity_options
from xaicli.untrusted import is_file

EXAMPLES = """
xai config show
xai config show --format json
XAI_MODEL=resnet50 xai config show
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="defaults that are set, and where")
@click.argument("what", type=click.Choice(["show"]), default="show")
@format_option()
@verbosity_options
def command(what: str, form: str) -> int:
    """Show the defaults that a configuration file or the environment sets.

    The file is config.toml in the user's configuration folder, with lines such as model = "resnet50"; the environment variable
    XAI_MODEL wins over it, and the command line over both. Files in the current folder are never read.
    """
    given = settings()
    rows = [
        {
            "setting": name,
            "value": str(given[name][0]) if name in given else "",
            "from": given[name][1] if name in given else "",
            "meaning": text,
        }
        for name, text in SETTINGS.items()
    ]
    print_rows(rows, form)
    if form == "table":
        click.echo(f"configuration file: {config_path()}{'' if is_file(config_path()) else ' (not there)'}")
    return 0
