"""The files that the words of a call name: what it reads, so that it is not written over."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xaicli.untrusted import is_file

OUTPUTS = ("output", "figure")
"""Words of every verb that name what it writes."""
BETWEEN = re.compile(r"[,@=:+]")
"""What stands between the parts of a specification."""


def files_named(words: Mapping[str, Any]) -> list[Path]:
    """The files that the parameters of a verb name, outputs apart: as paths, in lists such as `@list.txt`, in specifications such
    as `net.py:make` or `daam@bank=bank.safetensors`, and in what loads a model."""
    texts = (text for name, value in words.items() if name not in OUTPUTS for text in texts_in(value))
    return [Path(text) for text in dict.fromkeys(texts) if text and is_file(text)]


def texts_in(value: Any) -> Iterator[str]:
    """All texts that may be a path."""
    if isinstance(value, Path):
        yield str(value)
    elif isinstance(value, str):
        yield value
        if BETWEEN.search(value):
            yield from BETWEEN.split(value)
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in texts_in(part))
    elif isinstance(value, (list, tuple, set)):
        yield from (text for part in value for text in texts_in(part))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (text for part in dataclasses.fields(value) for text in texts_in(getattr(value, part.name, None)))
    elif (owner := getattr(value, "__self__", None)) is not None and dataclasses.is_dataclass(owner):
        # A command hands over a method of its options, which opens the model.
        yield from texts_in(owner)
