"""Texts of other origin, such as names of files and classes, as every file and terminal takes them."""

from __future__ import annotations

import re

HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of a character, which JSON may hold; Python keeps a byte that is no text as one of the others (PEP 383)."""


def writable(text: str) -> str:
    """The text with bytes that are no text as `\\xff`, and halves of a character as `\\ud83d`."""
    if text.isascii():
        return text
    halves = HALVES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return halves.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
