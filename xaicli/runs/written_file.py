"""What a verb that writes one file gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.tabular import Tabular
from xaicli.words import count


@dataclass(frozen=True)
class WrittenFile(Tabular):
    """A file that was written; number: how many of what `word` names it holds."""

    path: Path
    number: int
    word: str

    def records(self) -> list[dict[str, Any]]:
        return [{"file": str(self.path), f"{self.word}s": self.number}]

    def __str__(self) -> str:
        return f"{count(self.number, self.word)} in {self.path}"
