"""Numbers in words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import xaicli
from xaicli.method import Cost
from xaicli.words import count

ROOT = Path(xaicli.__file__).parents[1]
COUNTED = re.compile(r"^ (photos|maps|methods|rows|files|results|frames|bands|channels)\b")


@pytest.mark.parametrize(("number", "words"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (4000, "4,000 photos")])
def test_a_number_stands_before_its_noun(number: int, words: str) -> None:
    assert count(number, "photo") == words


def test_costs_say_one_pass() -> None:
    assert [cost.per_photo for cost in (Cost(1), Cost(1, 1), Cost(4000))] == [
        "1 pass per photo",
        "1+1 passes per photo",
        "4000 passes per photo",
    ]


def uncounted(path: Path) -> list[str]:
    """Numbers before a plural in the texts of a file, but for constants and numbers that are checked to be several."""
    found = []
    for text in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)]:
        for value, after in zip(text.values, text.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant) and COUNTED.match(after.value)):
                continue
            number = ast.unparse(value.value)
            if not number.isupper() and not number.startswith(("count(", "counted(", "sum(", "'", "roughly(")):
                found.append(f"{path.relative_to(ROOT)}: {number}{after.value}")
    return found


SEVERAL = {
    "decode.py": 2,
    "default_method.py": 2,
    "dicom_file.py": 2,
    "find.py": 1,
    "scoring.py": 1,
    "sentences.py": 2,
    "trained_attention.py": 1,
    "truth.py": 1,
    "view.py": 2,
    "winit.py": 1,
}
"""Texts by file where the number is checked to be several, or is no number of things."""


def test_no_message_speaks_of_1_photos() -> None:
    files = [path for room in ("xaicli", "methods", "metrics") for path in sorted((ROOT / room).rglob("*.py"))]
    found = {path.name: texts for path in files if (texts := uncounted(path))}
    assert {name: len(texts) for name, texts in found.items()} == SEVERAL, found
