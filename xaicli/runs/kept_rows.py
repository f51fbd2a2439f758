"""Rows of a long run, kept until it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, overload

from xaicli.writable_text import json_text


class KeptRows(Sequence[dict[str, Any]]):
    """Rows as JSON: as dictionaries they would take several times the memory. Each is made again when it is asked for."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def append(self, row: Mapping[str, Any]) -> None:
        self.texts.append(json_text(row, None).encode())

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return [made_of(text) for text in self.texts[at]] if isinstance(at, slice) else made_of(self.texts[at])


def made_of(text: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(text)
    return row
