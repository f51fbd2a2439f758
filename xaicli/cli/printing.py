"""Rows on stdout: a table for people, JSON, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from xaicli.errors import XaiError
from xaicli.tabular import Tabular
from xaicli.text_table import table_of

FORMATS = ("table", "json", "jsonl", "csv")


def print_rows(rows: Sequence[dict[str, Any]], form: str, columns: Sequence[str] | None = None) -> None:
    """Print rows of equal keys; the table shows `columns` alone, the other forms everything."""
    if form == "json":
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif form == "jsonl":
        for row in rows:
            print_line(row)
    elif form == "csv":
        click.echo(to_csv(rows), nl=False)
    elif rows:
        click.echo(table_of(rows, columns or (), width=terminal_width()))


def print_result(result: Tabular, form: str) -> None:
    """Print what a verb gave back; JSON lines were streamed while it worked."""
    if form != "jsonl" or not result.streamed:
        print_rows(result.rows, form, result.shown)


@contextmanager
def printing_partial(form: str) -> Iterator[None]:
    """Where an error ends a run, print what was finished before it."""
    try:
        yield
    except XaiError as error:
        if isinstance(error.partial, Tabular):
            print_result(error.partial, form)
        raise


def print_line(row: dict[str, Any]) -> None:
    """One row as a JSON line, flushed, so that a reader sees it now."""
    click.echo(json.dumps(row, ensure_ascii=False))
    sys.stdout.flush()


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        names = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def terminal_width() -> int:
    """Columns of the terminal that stdout is; 0, no limit, where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
