"""Text for a terminal: aligned columns, wide characters counted correctly, no control characters."""

from __future__ import annotations

import unicodedata

from xaicli.writable_text import writable


def printable(text: str) -> str:
    """`text` without control characters, so that a file's name cannot control the terminal; bytes that are no text as `\\xff`."""
    return "".join(char if unicodedata.category(char) not in ("Cc", "Cf") else "?" for char in writable(text))


def is_number(text: str) -> bool:
    return not text or text.replace(".", "", 1).replace("-", "", 1).replace("%", "", 1).isdecimal()


def columns_of(text: str) -> int:
    """The width of a text in terminal columns: East Asian wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def fit(text: str, width: int, right: bool) -> str:
    """`text` padded to a width, or shortened in the middle, where names differ least."""
    taken = columns_of(text)
    if taken > width:
        half = (width - 1) // 2
        text = text[: width - 1 - half] + "…" + text[len(text) - half :]
        taken = columns_of(text)
    space = " " * max(0, width - taken)
    return space + text if right else text + space


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces; a word that is wider is shortened in the middle."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if not lines[-1] or columns_of(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line if columns_of(line) <= width else fit(line, width, False) for line in lines]
