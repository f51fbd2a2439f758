"""The command line as it is recorded, without absolute paths and user names."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from xaicli.untrusted import readable


def command_line(words: list[str] | None = None) -> str:
    """`xai` and its arguments, with absolute paths shortened to their last part."""
    return shlex.join(["xai", *(readable(shorten(word)) for word in (sys.argv[1:] if words is None else words))])


def shorten(word: str) -> str:
    key, equals, value = word.partition("=")
    if equals and key.startswith("--"):
        return f"{key}={shorten(value)}"
    mark = "@" if word.startswith("@") else ""
    bare = word.removeprefix("@")
    home = os.path.expanduser("~")
    if Path(bare).is_absolute() or bare.startswith("~") or (len(home) > 1 and home in bare):
        return mark + os.path.basename(bare.rstrip("/\\"))
    return word
