"""What explaining photos gives back: attributions in memory or on disk, and a record of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from xaicli.attribution import Attribution, Record
from xaicli.errors import XaiError
from xaicli.runs.folder import FolderRun, Written
from xaicli.runs.pictures import read
from xaicli.tabular import Tabular

COLUMNS = ("image", "decision", "p", "method")


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Tabular, Sequence[Attribution]):
    """Attributions in the order of photos, methods and targets, and a record of each.

    table: the keys that the printed table shows; errors: of photos that have none, under `keep_going`. Of a dry run there are no
    attributions, and a record is what a method would do.
    """

    streamed = True
    made: Sequence[Attribution]
    found: Sequence[dict[str, Any]]
    table: tuple[str, ...] = COLUMNS
    errors: tuple[XaiError, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        return list(self.found)

    @property
    def shown(self) -> list[str]:
        return list(self.table)

    def __len__(self) -> int:
        return len(self.made)

    @overload
    def __getitem__(self, at: int) -> Attribution: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attribution]: ...
    def __getitem__(self, at: int | slice) -> Attribution | Sequence[Attribution]:
        return self.made[at]

    def __repr__(self) -> str:
        return f"Explanations({len(self)} attributions)"


@dataclass(frozen=True, eq=False)
class OnDisk(Sequence[Attribution]):
    """Attributions that are read when they are asked for."""

    run: FolderRun
    written: Sequence[Written]

    def __len__(self) -> int:
        return len(self.written)

    @overload
    def __getitem__(self, at: int) -> Attribution: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attribution]: ...
    def __getitem__(self, at: int | slice) -> Attribution | Sequence[Attribution]:
        return OnDisk(self.run, self.written[at]) if isinstance(at, slice) else read(self.run, self.written[at])


def row_of(record: Record, written: Written | None = None) -> dict[str, Any]:
    """The record of a map as one row; with its files where it was written."""
    row: dict[str, Any] = {
        "image": record.image,
        "decision": record.decision.name,
        "p": record.decision.probability,
        "method": record.method,
    }
    if written is not None:
        row["map"] = written.picture if record.status == "ok" else f"{written.picture} ({record.status})"
    row |= {
        "target": record.target,
        "target_name": record.target_name,
        "target_probability": record.target_probability,
        "status": record.status,
    }
    if written is not None:
        row |= {"array": f"{written.stem}.npy", "record": f"{written.stem}.json"}
    return row | {"definition": record.definition, "subject": record.subject, "seed": record.seed} | record.scores
