"""Completion of file names: where no word of ours fits, the shell completes them, as it does for a command that it does not know.

Most free text may name a file: a photo, a folder, a model `net.py`, a method `my.py:MyMethod`.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


class MayNameFile(click.Parameter):
    """A parameter of free text, which is completed with its own words if one fits, else with file names."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        if not found and isinstance(self.type, click.types.StringParamType):
            return [CompletionItem(incomplete, type="file")]
        return found


class Argument(MayNameFile, click.Argument):
    """An argument of a command, in place of click's own."""
