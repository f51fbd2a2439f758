"""Results on stdout: a table for people, other formats for programs and papers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from xaicli.errors import XaiError
from xaicli.tabular import Tabular
from xaicli.text_table import FORMATS, rendered

__all__ = ["FORMATS", "print_result", "print_rows", "printing_partial", "terminal_width"]


def print_rows(rows: Sequence[Mapping[str, Any]], form: str) -> None:
    """Print records that have the same keys."""
    show(rendered(rows, form, width=terminal_width()))


def print_result(result: Tabular, form: str) -> None:
    """Print a result; its JSON lines, if asked for, were streamed while it was made."""
    if form != "jsonl" or not result.streamed:
        show(result.render(form, width=terminal_width()))


def show(text: str) -> None:
    if text:
        click.echo(text)


@contextmanager
def printing_partial(form: str) -> Iterator[None]:
    """If an error ends a run, print what was finished before."""
    try:
        yield
    except XaiError as error:
        if isinstance(error.partial, Tabular):
            print_result(error.partial, form)
        raise


def terminal_width() -> int:
    """Columns of the terminal; 0 (no limit) if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
