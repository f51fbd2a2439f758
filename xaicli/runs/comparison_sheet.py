"""The contact sheet of a comparison: photos and methods, scores under each map, from the store of a scoring run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xaicli.images.decode import Photo
from xaicli.images.marks import REGION, marks_of
from xaicli.images.photo_input import picture_of_photo
from xaicli.images.picture_file import write_png
from xaicli.images.sheet import SheetCell, SheetRow, sheet
from xaicli.images.source import Source
from xaicli.results.sentences import FITTED_MARK
from xaicli.results.store import Store
from xaicli.rows import FITTED, KeptMap, Row
from xaicli.runs.map_cache import MapCache
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.score_table import rows_of, selection_of
from xaicli.sign import Sign

MOST = 200
"""Maximum photos on one sheet."""


@dataclass(frozen=True, eq=False)
class SheetPhoto:
    """One photo of the sheet: its maps by method label, and its scores by method and metric label."""

    source: Source
    maps: dict[str, KeptMap]
    scores: dict[tuple[str, str], Row]


def draw_comparison(run: ScoreRun, store: Store, path: Path) -> int:
    """Write the sheet of a run's photos, the first MOST of them; returns how many are on it."""
    photos = list(shown(run, store))[:MOST]
    if not photos:
        return 0
    labels = [method.label for method in run.methods]
    rows = (row_of(run, photo, labels) for photo in photos)
    picture = sheet(rows, labels, count=len(photos), title=run.classifier.name)
    write_png(path, picture)
    return len(photos)


def shown(run: ScoreRun, store: Store) -> Iterator[SheetPhoto]:
    """The run's photos in the order given, with their rows and maps in the store for this run's model and seed."""
    selection = replace(selection_of(run), controls=False)
    scores: dict[str, dict[tuple[str, str], Row]] = {}
    subjects: dict[str, str] = {}
    for row in rows_of(run, store, selection):
        scores.setdefault(row.photo, {}).setdefault((row.method, row.metric), row)
        subjects.setdefault(row.subject, row.photo)
    maps: dict[str, dict[str, KeptMap]] = {}
    for kept in store.maps(selection):
        if kept.subject in subjects and kept.seed == run.settings.seed:
            maps.setdefault(subjects[kept.subject], {}).setdefault(kept.method, kept)
    for source in run.sources:
        content = run.contents.get(source, "")
        if content in scores:
            yield SheetPhoto(source, maps.get(content, {}), scores[content])


def row_of(run: ScoreRun, photo: SheetPhoto, labels: list[str]) -> SheetRow:
    own, view = run.settings, run.classifier.view
    if view.frames:
        sequence, cells = of_sequence(run, photo)
        picture, size = sequence.image, sequence.size
    else:
        picture = picture_of_photo(photo.source, view, own.background, own.decode_timeout, own.bands)
        size = picture.size
        cells = {label: cell_of(photo.maps[label], lines_of(run, photo, label)) for label in labels if label in photo.maps}
    first = next(iter(photo.scores.values()))
    p = next((row.readouts["p0"] for row in photo.scores.values() if "p0" in row.readouts), None)
    line = first.target_name if p is None else f"{first.target_name} {p:.2f}"
    return SheetRow(picture, view.geometry(*size), photo.source.name, (line,), cells)


def of_sequence(run: ScoreRun, photo: SheetPhoto) -> tuple[Photo, dict[str, SheetCell]]:
    """A sequence with all its frames side by side, and its maps, which are made again: a store keeps maps of photos alone."""
    cache = MapCache(run.classifier, run.methods, run.targets, run.settings, run.ring)
    made = cache.fetch(photo.source, {method.label for method in run.methods})
    cells = {
        method.label: SheetCell(made[method.label].values[0, 0].cpu().numpy(), method.sign, lines_of(run, photo, method.label))
        for method in run.methods
    }
    return cache.photos[photo.source].photo, cells


def lines_of(run: ScoreRun, photo: SheetPhoto, label: str) -> tuple[str, ...]:
    """The scores of a map, one a line."""
    lines = []
    for metric in run.metrics:
        row = photo.scores.get((label, metric.label))
        if row is not None:
            mark = FITTED_MARK if FITTED in row.readouts else ""
            lines.append(f"{metric.label} {row.status if row.value is None else f'{row.value:.3f}{mark}'}")
    return tuple(lines)


def cell_of(kept: KeptMap, lines: tuple[str, ...]) -> SheetCell:
    sign, marks = Sign.SIGNED if kept.signed else Sign.NONNEGATIVE, {} if kept.region is None else {REGION: kept.region}
    return SheetCell(np.asarray(kept.values, dtype=np.float32), sign, lines, marks_of(marks))
