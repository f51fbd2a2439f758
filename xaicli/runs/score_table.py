"""The result of scoring photos: rows, and the table of means that the command prints."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.errors import XaiError
from xaicli.images.figure import DPI, WIDTH_CM, save_figure
from xaicli.results.curves_figure import curves_figure
from xaicli.results.reading import Selection
from xaicli.results.report.curves import MeanCurve, mean_curves
from xaicli.results.store import Store
from xaicli.results.summary import Group, summarise
from xaicli.results.tables import heading, render, shown
from xaicli.rows import COLUMNS, Row
from xaicli.runs.score_run import ScoreRun
from xaicli.tabular import Tabular


@dataclass(frozen=True, eq=False)
class ScoreTable(Tabular):
    """Scores of photos: `rows` has one record for each photo, method, target and metric; printed, it is the table of means.

    groups: the means with their intervals and comparisons; store: the file that holds the rows, or the store in memory; errors:
    of photos without scores, under `keep_going`; failures: violated bounds, one line each; sheets: pictures drawn.
    """

    streamed = True
    columns = COLUMNS

    runs: tuple[ScoreRun, ...]
    store: Path | Store
    groups: tuple[Group, ...]
    errors: tuple[XaiError, ...] = ()
    failures: tuple[str, ...] = ()
    sheets: tuple[Path, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a bound of `fail_under` or `fail_over` is violated."""
        return bool(self.failures)

    def records(self) -> list[dict[str, Any]]:
        if isinstance(self.store, Store):
            return [row.record() for run in self.runs for row in rows_of(run, self.store)]
        with Store.open(self.store, write=False) as opened:
            return [row.record() for run in self.runs for row in rows_of(run, opened)]

    def figure(self, path: str | Path, *, width_cm: float = WIDTH_CM, columns: int = 2, dpi: int = DPI) -> Path:
        """Write the mean curves with their bands, or the means, as a PDF, SVG or PNG of a width in centimetres."""
        curves: list[MeanCurve] = []
        if isinstance(self.store, Store):
            curves = mean_curves(self.store)
        else:
            with Store.open(self.store, write=False) as opened:
                curves = mean_curves(opened)
        save_figure(curves_figure(self.groups, curves, width_cm=width_cm, columns=columns), Path(path), dpi)
        return Path(path)

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """The means as table, markdown, latex, json or csv; every row as jsonl."""
        if format == "jsonl":
            return super().render(format)
        return render(self.groups, format, width=width).removesuffix("\n")

    def _repr_html_(self) -> str:
        return "".join(map(as_html, self.groups))


def rows_of(run: ScoreRun, store: Store, selection: Selection | None = None) -> Iterator[Row]:
    """The rows of a run's photos in a store, including those of earlier runs; selection: by default all of the run's."""
    for row in store.rows(selection or selection_of(run)):
        if row.model == run.classifier.fingerprint and row.seed == run.settings.seed:
            yield row


def selection_of(run: ScoreRun) -> Selection:
    """The selection of the run's definitions and photos, since a store may hold others of earlier runs: of other methods, or of
    another version or checkpoint of the same one."""
    photos = frozenset((run.contents.get(source, ""), source.frame) for source in run.sources)
    return Selection(photos=photos, definitions=frozenset(recipe.definition for recipe in run.recipes))


def groups_of(run: ScoreRun, store: Store) -> list[Group]:
    """The means of this run's methods and metrics over its photos."""
    about = (run.classifier.fingerprint, run.targets.text, run.settings.precision)
    groups = summarise(store, selection_of(run))
    return [group for group in groups if (group.fingerprint, group.target_rule, group.precision) == about]


def as_html(group: Group) -> str:
    """A group's means as an HTML table."""
    names: Sequence[str] = [*group.methods, *group.controls]
    head = "".join(f"<th>{html.escape(heading(group, metric))}</th>" for metric in group.metrics)
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{html.escape(shown(group, name, metric))}</td>" for metric in group.metrics)
        + "</tr>"
        for name in names
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
