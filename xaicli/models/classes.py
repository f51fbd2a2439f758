"""Class names from a file: one per line, CSV with a column `name`, or JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from xaicli.errors import InputError
from xaicli.untrusted import read_text
from xaicli.words import count

FORMS = "one name per line, a CSV file with the columns index and name, or JSON (a list, or names by index)"


def read_classes(path: Path) -> tuple[str, ...]:
    """Names by class index, synonyms of one class separated by commas; raises InputError that names the line.

    CSV: a header with `name` and, if the rows are not in order, `index`. JSON: a list of names, names by index, indices by name,
    or lists that end in the name.
    """
    text = read_text(path, FORMS)
    if not text.strip():
        raise InputError(f"{path} is empty", expected=FORMS)
    first = text.lstrip()[:1]
    if first in ("[", "{") and path.suffix.lower() not in (".txt", ".csv"):
        return from_json(path, text)
    header = [cell.strip().lower() for cell in next(csv.reader(StringIO(text)), [])]
    if "name" in header and (len(header) > 1 or path.suffix.lower() == ".csv"):
        return from_csv(path, text, header)
    if path.suffix.lower() == ".csv":
        raise InputError(f"{path} has no column called name: {', '.join(header)[:80]}", expected=FORMS)
    return from_lines(path, text)


def from_lines(path: Path, text: str) -> tuple[str, ...]:
    names = [line.strip() for line in text.rstrip().splitlines()]
    for number, name in enumerate(names, start=1):
        if not name:
            raise InputError(f"{path}: line {number} is empty", expected="one name per line, in the order of the classes")
    return tuple(names)


def from_csv(path: Path, text: str, header: list[str]) -> tuple[str, ...]:
    rows = [row for row in csv.reader(StringIO(text)) if row][1:]
    names: dict[int, str] = {}
    at_name, at_index = header.index("name"), header.index("index") if "index" in header else None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header) or not row[at_name].strip():
            raise InputError(
                f"{path}: line {number} has {count(len(row), 'cell')} or no name",
                expected=f"{count(len(header), 'cell')}: {', '.join(header)}",
            )
        index = str(number - 2) if at_index is None else row[at_index].strip()
        add(path, names, index, row[at_name], f"line {number}")
    return in_order(path, names)


def from_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {str(error)[:80]}", expected=FORMS) from error
    names: dict[int, str] = {}
    for place, (index, name) in enumerate(json_pairs(content)):
        add(path, names, index, name[-1] if isinstance(name, list) and name else name, f"entry {place}")
    return in_order(path, names)


def json_pairs(content: Any) -> Iterable[tuple[Any, Any]]:
    """(index, name) of each entry, in whichever order the file has them."""
    if isinstance(content, list):
        return enumerate(content)
    if all(isinstance(value, int) and not isinstance(value, bool) for value in content.values()):
        return ((index, name) for name, index in content.items())
    return list(content.items())


def add(path: Path, names: dict[int, str], index: Any, name: Any, place: str) -> None:
    if not str(index).isdecimal():
        raise InputError(f'{path}: {place} has the index "{index}"', expected="a whole number from 0")
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{path}: {place} has no name", expected=FORMS)
    if int(index) in names:
        raise InputError(f"{path}: index {index} occurs twice ({place})", expected="each index once")
    names[int(index)] = name.strip()


def in_order(path: Path, names: dict[int, str]) -> tuple[str, ...]:
    if not names:
        raise InputError(f"{path} holds no names", expected=FORMS)
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None:
        raise InputError(f"{path}: index {missing} is missing", expected=f"each index from 0 to {max(names)} once")
    return tuple(names[index] for index in range(len(names)))
