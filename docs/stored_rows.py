"""Score rows behind docs/methods.md, kept small: `python -m docs.stored_rows ROWS.jsonl docs/results/NAME.jsonl`.

The command adds the rows of `xai export --format jsonl` to a stored file, in which the first line names the photos and each
further line holds the values of one method and metric in that order, null where a photo has none. Values have six digits.
Read-outs, definitions and subjects are left out: the page reads none of them, and the commands of docs/results/README.md make
them again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xaicli.rows import FITTED


@dataclass
class Column:
    """The values of one method under one metric, by photo. fitted: the method's maps were fitted to the metric."""

    method: str
    metric: str
    fitted: bool = False
    values: dict[str, float] = field(default_factory=dict)


Columns = dict[tuple[str, str], Column]
"""By method and metric, parameters included."""


def of_rows(lines: Iterable[str]) -> Columns:
    """Columns of exported rows, one JSON object a line; rows without a value are left out."""
    found: Columns = {}
    for row in map(json.loads, lines):
        if row["value"] is not None:
            column = found.setdefault((row["method"], row["metric"]), Column(row["method"], row["metric"], FITTED in row))
            column.values[row["image"]] = row["value"]
    return found


def files(folder: Path) -> list[Path]:
    """The stored files of a folder, in the order of their names; other files may lie beside them."""
    found = sorted(folder.glob("*.jsonl"))
    return [path for path in found if path.read_text("utf-8").startswith('{"photos"')]


def read(path: Path) -> Columns:
    """The columns of a stored file."""
    first, *lines = path.read_text("utf-8").splitlines()
    photos = json.loads(first)["photos"]
    found = {}
    for stored in map(json.loads, lines):
        values = {photo: value for photo, value in zip(photos, stored["values"], strict=True) if value is not None}
        key = stored["method"], stored["metric"]
        found[key] = Column(*key, stored.get("fitted", False), values)
    return found


def write(path: Path, columns: Columns) -> None:
    """Store columns, methods in alphabetical order."""
    photos = sorted({photo for column in columns.values() for photo in column.values})
    lines = [json.dumps({"photos": photos})]
    for key in sorted(columns):
        column = columns[key]
        numbers = [column.values.get(photo) for photo in photos]
        short = [None if number is None else float(f"{number:.6g}") for number in numbers]
        about = {"method": column.method, "metric": column.metric} | ({"fitted": True} if column.fitted else {})
        lines.append(json.dumps(about | {"values": short}, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def add(path: Path, rows: Path) -> None:
    """Add exported rows to a stored file, which may be new; they replace older values of the same photos."""
    columns = read(path) if path.is_file() else {}
    for key, column in of_rows(rows.read_text("utf-8").splitlines()).items():
        older = columns.get(key)
        columns[key] = column if older is None else Column(*key, column.fitted, older.values | column.values)
    write(path, columns)


if __name__ == "__main__":
    add(Path(sys.argv[2]), Path(sys.argv[1]))
