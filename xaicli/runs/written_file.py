"""The result of a public function that writes one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.tabular import Tabular
from xaicli.words import count


@dataclass(frozen=True)
class WrittenFile(Tabular):
    """A file that was written; number, word: what it holds, such as 12 rows."""

    path: Path
    number: int
    word: str

    def records(self) -> list[dict[str, Any]]:
        return [{"file": str(self.path), f"{self.word}s": self.number}]

    def __str__(self) -> str:
        return f"{count(self.number, self.word)} in {self.path}"
