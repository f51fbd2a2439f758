"""Numbers, sizes and types in words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import xaicli
from xaicli.method import Cost
from xaicli.words import are, count, type_of, volume

ROOT = Path(xaicli.__file__).parents[1]
COUNTED = re.compile(r"^ (photos|maps|methods|rows|files|results|frames|bands|channels)\b")


@pytest.mark.parametrize(("number", "words"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (4000, "4,000 photos")])
def test_a_number_stands_before_its_noun(number: int, words: str) -> None:
    assert count(number, "photo") == words


SIZES = {0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1 KB", 18_300: "18 KB", 999_499: "999 KB"} | {
    999_500: "1.0 MB",
    9_949_999: "9.9 MB",
    9_950_000: "10 MB",
    2_500_000_000: "2,500 MB",
}


@pytest.mark.parametrize(("length", "words"), SIZES.items())
def test_a_size_is_never_0_mb(length: int, words: str) -> None:
    assert volume(length) == words


def test_one_is_and_others_are() -> None:
    assert [are(number) for number in (0, 1, 2)] == ["are", "is", "are"]


def test_a_type_has_its_article() -> None:
    values = (3, [], {}, object(), np.zeros(1), None)
    assert [type_of(value) for value in values] == ["an int", "a list", "a dict", "an object", "an ndarray", "None"]


def test_no_message_writes_the_article_of_a_type_itself() -> None:
    texts = {path.name: path.read_text() for room in ("xaicli", "methods", "metrics") for path in (ROOT / room).rglob("*.py")}
    assert [name for name, text in texts.items() if re.search(r"\ban? \{type\(", text)] == []


def test_costs_say_one_pass() -> None:
    assert [cost.per_photo for cost in (Cost(1), Cost(1, 1), Cost(4000), Cost(4000, at_most=True))] == [
        "1 pass per photo",
        "1+1 passes per photo",
        "4000 passes per photo",
        "at most 4000 passes per photo",
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
