"""Names of files and classes that no encoding takes as they are."""

from __future__ import annotations

import os

import pytest

from xaicli.errors import InputError
from xaicli.results.report.page import page_of
from xaicli.writable_text import writable


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
