"""Errors in words: what a damaged file holds is never told by the name of an exception of Python."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import xaicli
from xaicli.errors import InputError, fault_in_content
from xaicli.record import Record

PACKAGE = Path(xaicli.__file__).parent


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: json.loads("photo"), "no JSON at line 1, column 1: Expecting value"),
        (lambda: {"a": 1}["method"], "it has no 'method'"),
        (lambda: b"\xff".decode(), "a text that is not UTF-8"),
        (lambda: [1, 2][5], "a part of it is of another kind"),
        (lambda: len(json.loads("5")), "a part of it is of another kind"),
        (lambda: json.loads("[" * 100_000), "it is nested too deeply"),
        (lambda: int(float("inf")), "a number that cannot be"),
        (lambda: {"a": 1}["\x1b[31m" * 100], None),
    ],
)
def test_a_fault_in_the_content_of_a_file_is_told_in_words(read: Callable[[], object], words: str | None) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, ArithmeticError, RecursionError)) as found:
        read()
    told = fault_in_content(found.value)
    assert told == words if words else (len(told) < 400 and told.isprintable())


def test_a_sidecar_that_lacks_a_part_says_which() -> None:
    with pytest.raises(InputError, match=r"a\.json is not a record of an attribution \(it has no 'schema_version'\)$"):
        Record.from_json("{}", "a.json")


def handlers(path: Path) -> list[ast.ExceptHandler]:
    return [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler) and node.type and node.name
    ]


def test_no_message_of_a_damaged_file_shows_an_exception_of_python() -> None:
    """Handlers of errors that reading JSON raises either leave the exception out of their text or put it into words."""
    raw = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for handler in handlers(path):
            caught = ast.unparse(handler.type) if handler.type else ""
            shown = " ".join(
                ast.unparse(node) for body in handler.body for node in ast.walk(body) if isinstance(node, ast.FormattedValue)
            )
            reads = "KeyError" in caught or "LookupError" in caught
            if reads and handler.name and handler.name in shown and "fault_in_content" not in shown:
                raw.append(f"{path.relative_to(PACKAGE)}:{handler.lineno}: {shown}")
    assert not raw
