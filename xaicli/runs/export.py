"""`xaicli.export`: the rows of a store, for other programs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from xaicli.claims import claim
from xaicli.errors import UsageError, did_you_mean
from xaicli.results.export import export as export_file
from xaicli.results.export import export_to
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.rows import COLUMNS
from xaicli.tabular import Tabular
from xaicli.words import count


@dataclass(frozen=True)
class ExportedRows(Tabular):
    """Rows of a store, which `rows` reads on first use. output: the file to which they were written; number: how many."""

    store: Path
    selection: Selection
    output: Path | None = None
    number: int = 0

    columns = COLUMNS

    def records(self) -> list[dict[str, Any]]:
        with Store.open(self.store, write=False) as opened:
            return [row.record() for row in opened.rows(self.selection)]

    def __str__(self) -> str:
        """What the command prints: the rows as CSV, or the file to which they were written."""
        if self.output is not None:
            return f"{count(self.number, 'row')} in {self.output}"
        text = io.BytesIO()
        with Store.open(self.store, write=False) as opened:
            export_to(opened, text, "csv", self.selection)
        return text.getvalue().decode().removesuffix("\n")


def export(
    store: str | Path,
    output: str | Path | BinaryIO | None = None,
    *,
    format: str | None = None,
    method: str | Sequence[str] = (),
    metric: str | Sequence[str] = (),
    controls: bool = True,
    overwrite: bool = False,
) -> ExportedRows:
    """The rows of a store: image, method, target, metric, value, status, definition, subject, seed, then read-outs.

    output: a file, whose ending decides the format, an open binary file, or None (the rows are only in the result); format: csv,
    jsonl or parquet; method, metric: labels (empty: all); controls: include the rows of controls; overwrite: replace a file that
    xai did not write. Raises XaiError.

        xaicli.export("scores.db", metric="insertion").to_pandas()
    """
    selection = Selection(labels(method), labels(metric), controls)
    found = ExportedRows(Path(store), selection)
    with Store.open(store, write=False) as opened:
        refuse_absent(opened, selection)
        if output is None:
            return found
        if isinstance(output, str | Path):
            claim(Path(output), [Path(store)], overwrite=overwrite)
            return ExportedRows(Path(store), selection, Path(output), export_file(opened, Path(output), format or "", selection))
        export_to(opened, output, format or "csv", selection)
        return found


def refuse_absent(store: Store, selection: Selection) -> None:
    """Raise UsageError for a label that no row has: a slip of the pen would give a table without rows."""
    recipes = store.recipes()
    for what, wanted in (("method", selection.methods), ("metric", selection.metrics)):
        known = sorted({getattr(recipe, what) for recipe in recipes})
        for label in wanted:
            if label not in known:
                found = f'{store.path} has no rows of the {what} "{label}"'
                raise UsageError(found, expected=", ".join(known) or "rows", hint=did_you_mean(label, known))


def labels(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
