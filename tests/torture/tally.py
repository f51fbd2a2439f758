"""What a torture run counts, and the table that docs/reliability.md is generated from."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(named).absolute() if (named := os.environ.get("XAI_TORTURE_RESULTS")) else None
"""Where tallies go, as seen from where the tests were started: some of them work in other folders."""


@dataclass
class Tally:
    """One attack: how often it was tried, and how each attempt ended."""

    attack: str
    tried: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    example: str = ""

    def count(self, ending: str, seconds: float = 0.0, line: str = "") -> None:
        self.tried += 1
        self.endings[ending] = self.endings.get(ending, 0) + 1
        self.slowest = max(self.slowest, seconds)
        if line and not self.example:
            self.example = line

    def __str__(self) -> str:
        endings = ", ".join(f"{count} {ending}" for ending, count in sorted(self.endings.items()))
        return f"{self.attack}: {self.tried} tried, {endings}"

    def keep(self) -> None:
        """Print the counts, and write them where they are wanted."""
        print(self)
        if RESULTS is not None:
            RESULTS.mkdir(parents=True, exist_ok=True)
            name = "".join(char if char.isalnum() else "-" for char in self.attack)
            (RESULTS / f"{name}.json").write_text(json.dumps(asdict(self) | {"command": command()}, indent=1))


def command() -> str:
    """The command that repeats the attack that runs now."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    return f"XAI_TORTURE=full python -m pytest -s {shlex.quote(test)}"
