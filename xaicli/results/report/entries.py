"""The entries of the page's gallery: one per photo and target, with scores, curves and maps, reduced to what a page needs."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.images.colour import Scale
from xaicli.images.marks import outline
from xaicli.images.smoothing import legible
from xaicli.results.reading import StoredPhoto
from xaicli.results.store import Store
from xaicli.results.summary import Group
from xaicli.results.writing import reduced
from xaicli.rows import PARTNER, KeptMap, Row
from xaicli.sign import Sign

TableCell = tuple[int, int]
"""A method and a metric, by their positions in the group's table."""


@dataclass(eq=False)
class GalleryEntry:
    """One photo and target in one group. values: of its rows (one per seed), whose mean is shown; statuses: why a value is
    missing."""

    photo: tuple[str, int]
    target: str
    target_name: str
    subject: str = ""
    values: dict[TableCell, list[float]] = field(default_factory=dict)
    statuses: dict[TableCell, str] = field(default_factory=dict)
    curves: dict[TableCell, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    maps: dict[int, KeptMap] = field(default_factory=dict)

    def value(self, cell: TableCell) -> float | None:
        values = self.values.get(cell)
        return None if not values else sum(values) / len(values)


class Index:
    """For each definition, its group and its cell in the group's table."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.methods = [(*group.methods, *group.controls) for group in groups]
        self.cells: dict[tuple[str, str], tuple[int, TableCell]] = {}
        self.maps: dict[tuple[str, str], tuple[int, int]] = {}
        for number, group in enumerate(groups):
            for (method, metric), scored in group.cells.items():
                cell = self.methods[number].index(method), group.metrics.index(metric)
                self.cells[group.fingerprint, scored.recipe.definition] = number, cell
                self.maps[group.fingerprint, scored.recipe.method_definition] = number, cell[0]


def entries_of(store: Store, groups: Sequence[Group], wanted: Iterable[StoredPhoto]) -> list[list[GalleryEntry]]:
    """For each group, the entries of the wanted photos, photo by photo."""
    index = Index(groups)
    chosen = {(photo.content, photo.frame) for photo in wanted}
    found: list[dict[tuple[object, ...], GalleryEntry]] = [{} for _ in groups]
    by_subject: dict[str, str] = {}
    for row in store.rows(curves=True, nearest=True):
        # Another process may have added definitions since the summary was made.
        if (row.photo, row.frame) in chosen and (row.model, row.definition) in index.cells:
            number, cell = index.cells[row.model, row.definition]
            key = (row.photo, row.frame, row.target)
            entry = found[number].setdefault(key, GalleryEntry(key[:2], row.target, row.target_name))
            if PARTNER not in row.readouts:
                entry.subject = row.subject
                by_subject[row.subject] = row.model
            add_row(entry, cell, row)
    by_key = [{entry.subject: entry for entry in entries.values()} for entries in found]
    for kept in store.maps():
        model = by_subject.get(kept.subject)
        if model is not None and (model, kept.method_definition) in index.maps:
            number, method = index.maps[model, kept.method_definition]
            if kept.subject in by_key[number]:
                by_key[number][kept.subject].maps.setdefault(method, kept)
    return [list(entries.values()) for entries in found]


def add_row(entry: GalleryEntry, cell: TableCell, row: Row) -> None:
    if row.value is None:
        entry.statuses[cell] = row.status
    else:
        entry.values.setdefault(cell, []).append(row.value)
    if row.curve is not None:
        entry.curves.setdefault(cell, (row.curve.x, row.curve.y))


def as_data(entries: Sequence[GalleryEntry], group: Group, photo_number: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    """The entries as compact JSON: numbers rounded to what is shown; curves and maps as base64."""
    grids: dict[tuple[float, ...], int] = {}
    ranges = [curve_range(entries, metric) for metric in range(len(group.metrics))]
    side = map_side(sum(len(entry.maps) for entry in entries))
    listed = []
    cells = list(itertools.product(range(len(group.methods + group.controls)), range(len(group.metrics))))
    for entry in entries:
        curves = {
            f"{method},{metric}": [grids.setdefault(x, len(grids)), in_bytes(scaled(np.asarray(y), ranges[metric]))]
            for (method, metric), (x, y) in entry.curves.items()
        }
        listed.append(
            {
                "photo": photo_number[entry.photo],
                "target": entry.target,
                "name": entry.target_name,
                "subject": entry.subject,
                "values": [rounded(entry.value(cell)) for cell in cells],
                "statuses": {f"{method},{metric}": status for (method, metric), status in entry.statuses.items()},
                "curves": curves,
                "maps": {str(method): drawn(kept, side) for method, kept in entry.maps.items()},
                "region": region_of(entry),
            }
        )
    return {"entries": listed, "grids": [[rounded(value) for value in grid] for grid in grids], "ranges": ranges}


def curve_range(entries: Sequence[GalleryEntry], metric: int) -> tuple[float, float]:
    """The range in which a metric's curves are drawn: 0 to 1, or the curves' own range if they leave it."""
    found = [curve for entry in entries for (_, at), curve in entry.curves.items() if at == metric]
    low = min((min(y) for _, y in found), default=0.0)
    high = max((max(y) for _, y in found), default=1.0)
    return min(0.0, low), max(1.0, high)


def scaled(values: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.uint8]:
    return np.rint(np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1) * 255).astype(np.uint8)


def map_side(maps: int) -> int:
    """The longer side of a map on the page: the more maps, the coarser."""
    return 56 if maps <= 500 else 28 if maps <= 5000 else 20


def drawn(kept: KeptMap, side: int) -> dict[str, Any]:
    """A map in 256 steps of its colour range, and where it lies on the photo."""
    values = reduced(legible(np.asarray(kept.values, dtype=np.float32)), side)
    sign = Sign.SIGNED if kept.signed else Sign.NONNEGATIVE
    scale = Scale.of([values], sign)
    steps = np.rint(scale.fractions(values) * 255).astype(np.uint8)
    return {
        "size": [values.shape[1], values.shape[0]],
        "box": [rounded(edge) for edge in kept.box],
        "signed": kept.signed,
        "flat": scale.is_constant,
        "range": scale.texts(),
        "steps": in_bytes(steps),
    }


def region_of(entry: GalleryEntry) -> dict[str, Any] | None:
    """The outline of the region that a target is of, as an SVG path in cells, and where it lies on the photo."""
    kept = next((kept for kept in entry.maps.values() if kept.region is not None), None)
    if kept is None:
        return None
    lines = outline(kept.region).astype(int).tolist()
    path = "".join(f"M{x0} {y0}{f'H{x1}' if y0 == y1 else f'V{y1}'}" for x0, y0, x1, y1 in lines)
    return {"size": kept.region.shape[::-1], "box": [rounded(edge) for edge in kept.box], "path": path}


def in_bytes(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
