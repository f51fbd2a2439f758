"""Names of files and classes that no encoding takes as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import xaicli
from xaicli.errors import InputError
from xaicli.results.report.page import page_of
from xaicli.terminal import printable
from xaicli.text_table import cell
from xaicli.untrusted import readable
from xaicli.writable_text import SPELLED, json_text, writable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tabby", "tabby"),
        ("Käfer 🐞", "Käfer 🐞"),
        ("half\ud83d", "half\\ud83d"),
        ("\udc00\udfff", "\\udc00\\udfff"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    ],
)
def test_bytes_and_halves_of_characters_are_spelled_out(text: str, shown: str) -> None:
    assert writable(text) == shown
    assert InputError(text).line() == shown
    assert page_of("{{ name }}", name=text) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", b"caf\\xe9 \\ud83d K\xc3\xa4fer"), ("ascii", b"caf\\xe9 \\ud83d K\\u00e4fer")]
)
def test_a_stream_shows_what_it_cannot_write_in_the_same_way(encoding: str, shown: bytes) -> None:
    name = os.fsdecode(b"caf\xe9")
    assert f"{name} \ud83d Käfer".encode(encoding, SPELLED) == shown
    assert printable(name) == cell(name) == readable(name) == "caf\\xe9"


def test_json_keeps_a_name_that_is_no_text_as_python_reads_it_back() -> None:
    given = {"image": os.fsdecode(b'"caf\xe9'), "class": "Käfer\ud83d"}
    text = json_text(given)
    assert json.loads(text.encode()) == given
    assert "Käfer" in text
    assert json.loads(text.encode("ascii", SPELLED)) == given


def test_only_one_place_makes_json_with_all_characters_or_spells_those_that_are_no_text() -> None:
    """Elsewhere such a name would end the run, or be shown in another way."""
    package = Path(xaicli.__file__).parent
    found = {
        path.name
        for path in package.rglob("*.py")
        for word in ("ensure_ascii=False", '"backslashreplace"', '"surrogatepass"')
        if word in path.read_text(encoding="utf-8")
    }
    # `streams.py` reads the bytes of a table, and `names.py` makes a hash of a name.
    assert found == {"writable_text.py", "streams.py", "names.py"}
