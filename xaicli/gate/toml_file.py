"""Untrusted TOML: read within limits, keys and types checked, errors in words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.kinds import show
from xaicli.untrusted import read_text

LARGEST = 1_000_000
"""Bytes."""
HINT = "See docs/ci.md."

TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "text or a list": (str, list),
    "text or a whole number": (str, int),
    "a whole number": (int,),
    "a whole number or a list": (int, list),
    "a number": (int, float),
    "a list": (list,),
    "true or false": (bool,),
}
"""The types that a key's value may have, in words."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises UsageError."""
    try:
        return tomllib.loads(read_text(path, "a TOML file", LARGEST))
    except InputError as error:
        raise UsageError(error.found, expected=error.expected, hint=HINT) from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply", expected="a TOML file", hint=HINT) from error
    # Wrong TOML, text that is not UTF-8 and numbers that are too long all raise ValueError.
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {show(error)}", expected="a TOML file", hint=HINT) from error


def check_keys(where: str, table: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Raise UsageError for an unknown key, or a value of another type than its key has (one of TYPES)."""
    for key, value in table.items():
        if key not in kinds:
            hint = did_you_mean(key, kinds) or f"Known: {', '.join(kinds)}."
            raise UsageError(f'{where}: unknown key "{show(key)}"', hint=hint)
        types = TYPES[kinds[key]]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UsageError(f"{where}: {key} = {show(value)}", expected=kinds[key])


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Errors about what a file names begin with the file's name, or with `where` in it."""
    try:
        yield
    except UsageError as error:
        raise error.about(where) from error


def texts(where: str, key: str, value: str | list[Any]) -> tuple[str, ...]:
    """A list of texts; one text is a list of one."""
    listed = [value] if isinstance(value, str) else value
    if not all(isinstance(entry, str) and entry for entry in listed):
        raise UsageError(f"{where}: {key} = {show(listed)}", expected=f'texts, such as {key} = ["a", "b"]')
    return tuple(listed)
