"""The result of explaining photos: attributions in memory or on disk, and a record of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from xaicli.attribution import Attribution
from xaicli.errors import XaiError
from xaicli.images.figure import DPI, WIDTH_CM, save_figure, sheet_figure
from xaicli.images.overlay import HEAT
from xaicli.images.sheet import SheetRow
from xaicli.record import BASELINE_VALUE, Record
from xaicli.runs.folder import FolderRun
from xaicli.runs.records import said
from xaicli.runs.sheet_pictures import cell_of, column, read
from xaicli.runs.written_map import WrittenMap
from xaicli.tabular import Tabular
from xaicli.targets import REGION
from xaicli.text_table import rendered

OF_TARGET = ("target_name", "target_probability")
COLUMNS = ("image", "decision", "p", *OF_TARGET, "explained", "output", "value", "baseline", "method", "fitted_to")
"""The decision and its probability, and the target's where it is another; or which features are explained; or a value, of the
photo and of the baseline, a photo of the mean colour; the metric to which the map was fitted, if it was."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Tabular, Sequence[Attribution]):
    """Attributions in the order of photos, methods and targets, and a record of each.

    table: the keys that the printed table shows; errors: of photos without attributions, under `keep_going`. A dry run has no
    attributions; its records say what each method would do.
    """

    streamed = True
    made: Sequence[Attribution]
    found: Sequence[dict[str, Any]]
    table: tuple[str, ...] = COLUMNS
    errors: tuple[XaiError, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        return list(self.found)

    def render(self, format: str = "table", *, width: int = 0) -> str:
        # Row by row, not from a list of all.
        return rendered(self.found, format, self.shown, width=width)

    @property
    def shown(self) -> list[str]:
        hidden = () if any(map(of_another_target, self.found)) else OF_TARGET
        return [key for key in self.table if key not in hidden and (not self.found or any(key in row for row in self.found))]

    def __len__(self) -> int:
        return len(self.made)

    @overload
    def __getitem__(self, at: int) -> Attribution: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attribution]: ...
    def __getitem__(self, at: int | slice) -> Attribution | Sequence[Attribution]:
        return self.made[at]

    def figure(self, path: str | Path, *, width_cm: float = WIDTH_CM, dpi: int = DPI, look: str = HEAT) -> Path:
        """Write a contact sheet, one row per photo and one column per method, as a PDF, SVG or PNG of a width in centimetres."""
        columns = list(dict.fromkeys(column(one.record) for one in self.made))
        save_figure(sheet_figure(sheet_rows(self.made), columns, look=look, width_cm=width_cm, dpi=dpi), Path(path), dpi)
        return Path(path)

    def __repr__(self) -> str:
        return f"Explanations({len(self)} attributions)"


@dataclass(frozen=True, eq=False)
class OnDisk(Sequence[Attribution]):
    """Attributions that are read from disk when they are asked for."""

    run: FolderRun
    written: Sequence[WrittenMap]

    def __len__(self) -> int:
        return len(self.written)

    @overload
    def __getitem__(self, at: int) -> Attribution: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attribution]: ...
    def __getitem__(self, at: int | slice) -> Attribution | Sequence[Attribution]:
        return OnDisk(self.run, self.written[at]) if isinstance(at, slice) else read(self.run, self.written[at])


def sheet_rows(made: Iterable[Attribution]) -> list[SheetRow]:
    """The rows of a contact sheet, photo by photo."""
    rows: dict[tuple[str, int], SheetRow] = {}
    for one in made:
        record = one.record
        if one.picture is None:
            continue
        key = (record.photo, record.frame)
        if key not in rows:
            decision = (said(record),)
            geometry = one.geometry_on(one.picture)
            rows[key] = SheetRow(one.picture, geometry, Path(record.image).name, decision, {})
        rows[key] = replace(rows[key], cells={**rows[key].cells, column(record): cell_of(record, one.values, one.marks)})
    return list(rows.values())


def of_another_target(row: Mapping[str, Any]) -> bool:
    """Whether a row is of another target than the decision that it names."""
    return "decision" in row and row["target_name"].partition(REGION)[0] != row["decision"]


def row_of(record: Record, written: WrittenMap | None = None) -> dict[str, Any]:
    """The record of a map as one row, with its files if it was written."""
    row: dict[str, Any] = {"image": record.image}
    if BASELINE_VALUE in record.extras:
        row |= {"output": record.target_name, "value": record.target_probability, "baseline": record.extras[BASELINE_VALUE]}
    elif record.decision is None:
        row |= {"explained": record.explains}
    elif record.box:
        # A detector decides on each of its boxes.
        row |= {"decision": record.target_name, "p": record.target_probability}
    else:
        row |= {"decision": record.decision.name, "p": record.decision.probability}
    row["method"] = record.method
    if record.fitted_to:
        row["fitted_to"] = record.fitted_to
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
