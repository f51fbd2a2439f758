"""Rows on stdout: a table for people, JSON, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from xaicli.terminal import columns_of, fit, is_number, printable

FORMATS = ("table", "json", "jsonl", "csv")
NARROWEST = 8


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
        shown = list(columns or rows[0])
        click.echo(to_table([[cell(row.get(name)) for name in shown] for row in rows], shown))


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


def cell(value: Any) -> str:
    """A value for people: two decimals for fractions, nothing for None; control characters shown, never sent to the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 1000 else f"{value:.4g}"
    return printable(str(value))


def to_table(rows: Sequence[Sequence[str]], headers: Sequence[str], width: int | None = None) -> str:
    """Aligned columns, two spaces apart; numbers to the right. On a terminal the widest text columns are cut to its width."""
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    widths = [max(columns_of(text) for text in column) for column in zip(headers, *rows, strict=True)]
    while width and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    numeric = [all(is_number(row[at]) for row in rows) for at in range(len(headers))]
    lines = []
    for row in [headers, *rows]:
        cells = [fit(text, wide, right) for text, wide, right in zip(row, widths, numeric, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
