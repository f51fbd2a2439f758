"""Texts of other origin, such as names of files and classes, as every file and terminal takes them."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of a character, which JSON may hold; Python keeps a byte that is no text as one of the others (PEP 383)."""
SPELLED = "xaicli.spelled"
"""The name of `spelled` among the error handlers of encodings."""


def writable(text: str) -> str:
    """The text with bytes that are no text as `\\xff`, and halves of a character as `\\ud83d`."""
    if text.isascii():
        return text
    halves = HALVES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return halves.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def spelled(error: UnicodeError) -> tuple[str, int]:
    """What an encoding cannot write, as `writable` shows it; other characters as JSON escapes them (`\\u00e9`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = writable(error.object[error.start : error.end])
    return json.dumps(part)[1:-1].replace("\\\\", "\\"), error.end


codecs.register_error(SPELLED, spelled)


def json_text(value: Any, indent: int | None = 1, **settings: Any) -> str:
    """A value as JSON that every file takes. A byte that is no text is escaped as Python reads it back (`\\udcff`)."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, **settings)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
