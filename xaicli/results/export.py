"""Rows for other programs: CSV, JSON lines, Parquet.

Values are exact and texts unchanged. A spreadsheet reads a text that begins with `=`, `+`, `-` or `@` as a formula: import the
columns `image`, `method` and `metric` as text.
"""

from __future__ import annotations

import csv
import importlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xaicli.claims import MARK
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.packages import require
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.rows import COLUMNS, FITTED, PARTNER
from xaicli.writable_text import json_text

FORMATS = ("csv", "jsonl", "parquet")
ROWS_AT_ONCE = 50_000


def export(store: Store, path: Path, form: str = "", selection: Selection | None = None) -> int:
    """Write the selected rows to a file, whole or not at all; returns how many.

    form: one of FORMATS, by default the ending of the file's name. Raises UsageError if neither gives a format, or each
    another, InputError if the file cannot be written.
    """
    ending = path.suffix.removeprefix(".").lower()
    if form and ending in FORMATS and ending != form:
        raise UsageError(
            f"{path.name} is named {ending}, and the format is {form}",
            expected="one of the two",
            hint=f"Give -o FILE.{form}, or leave the format out.",
        )
    form = form or ending
    written = 0

    def write(file: BinaryIO) -> None:
        nonlocal written
        written = export_to(store, file, form, selection)

    refuse_unknown(form)
    write_atomic(path, write)
    return written


def export_to(store: Store, file: BinaryIO, form: str, selection: Selection | None = None) -> int:
    """Write the selected rows to an open binary file; returns how many."""
    refuse_unknown(form)
    write = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}[form]
    return write(store, file, selection or Selection())


def refuse_unknown(form: str) -> None:
    if form not in FORMATS:
        raise UsageError(f'no format "{form}"', expected=", ".join(FORMATS), hint="Give --format csv, or -o FILE.csv.")


def records(store: Store, selection: Selection) -> Iterator[dict[str, Any]]:
    return (row.record() for row in store.rows(selection))


def write_csv(store: Store, file: BinaryIO, selection: Selection) -> int:
    """Comma-separated UTF-8 with one header line; a missing value is an empty field."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    count = 0
    try:
        writer = csv.DictWriter(text, [*COLUMNS, *store.readout_names(selection)], lineterminator="\n")
        writer.writeheader()
        for record in records(store, selection):
            writer.writerow(record)
            count += 1
    finally:
        # The file belongs to the caller and stays open, also on an exception.
        text.detach()
    return count


def write_jsonl(store: Store, file: BinaryIO, selection: Selection) -> int:
    """One JSON object per line; a missing value is `null`, a read-out that a metric does not have has no key."""
    count = 0
    for record in records(store, selection):
        file.write(json_text(record, None, allow_nan=False).encode() + b"\n")
        count += 1
    return count


def write_parquet(store: Store, file: BinaryIO, selection: Selection) -> int:
    """A Parquet table; a missing value is null. Raises InputError if pyarrow is not installed."""
    arrow = require("pyarrow", "parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    names = store.readout_names(selection)
    kinds = {"value": arrow.float64(), "seed": arrow.int64(), **dict.fromkeys(names, arrow.float64())}
    kinds |= {PARTNER: arrow.int64(), FITTED: arrow.int64()}
    columns = [(name, kinds.get(name, arrow.string())) for name in (*COLUMNS, *names)]
    schema = arrow.schema(columns, metadata={"Software": MARK})
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        rows = records(store, selection)
        while block := list(itertools.islice(rows, ROWS_AT_ONCE)):
            writer.write_table(arrow.Table.from_pylist(block, schema=schema))
            count += len(block)
    return count
