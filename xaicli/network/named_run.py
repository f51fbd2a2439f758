"""Which calls count where a module runs several times in one pass and one of its runs is named, as `relu#0` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from xaicli.network.observe import Call


class NamedRun(NamedTuple):
    """One run of a module in a pass: its path, and the number of the run, the first is 0."""

    path: str
    number: int


@dataclass(eq=False)
class RunWatch:
    """Follows a pass; of the named module, and of modules inside it, calls count in the named run alone. Of all others, and of
    all where none is named, every call counts."""

    run: NamedRun | None
    begun: int = 0

    def begins(self, call: Call) -> None:
        if self.run is not None and call.path == self.run.path and not call.repeated:
            self.begun += 1

    def counts(self, call: Call) -> bool:
        if self.run is None or not f"{call.path}.".startswith(f"{self.run.path}."):
            return True
        return self.begun == self.run.number + 1
