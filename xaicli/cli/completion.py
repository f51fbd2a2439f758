"""`xai completion`: the script for shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai completion bash >> ~/.bashrc
xai completion zsh >> ~/.zshrc
xai completion fish > ~/.config/fish/completions/xai.fish
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="shell completion for bash, zsh or fish")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@verbosity_options
def command(shell: str) -> int:
    """Print a script that makes the shell complete commands, options, methods, metrics and models."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "xai", "_XAI_COMPLETE").source())
    return 0
