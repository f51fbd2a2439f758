"""What was planted, and what methods make of it: a photo of each check whose truth is known, with maps kept beside its scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from xaicli.images.marks import RegionMark
from xaicli.images.photo_input import picture_of_photo
from xaicli.images.sheet import SheetCell, SheetRow, sheet
from xaicli.results.report.sections import PagePicture
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Row
from xaicli.runs.planted_photos import MarkedPhoto
from xaicli.runs.score_table import rows_of, selection_of
from xaicli.runs.trust_checks import ALARM, FOUND, QUARTER, Planned
from xaicli.runs.trust_table import MethodTrust, ordered
from xaicli.sign import Sign

PLANTED = {FOUND: "a patch that decides", ALARM: "a patch that decides nothing", QUARTER: "four photos in one"}
CAPTION = (
    "What was planted, outlined, and where methods look: those that are trusted most, and the one that is trusted least. "
    "Where the patch decides, a map should mark it; where nothing reads it, it should not; of four photos one is explained."
)
BEST = 3
"""Methods that are shown beside the last of the table."""


def picture_of(planned: Sequence[Planned], methods: Sequence[MethodTrust], store: Store) -> PagePicture | None:
    """A row for each check, a column for each method: the most trusted, and the least; None where no check has a known truth."""
    own = [one.label for one in ordered(methods) if not one.control]
    columns = list(dict.fromkeys([*own[:BEST], *own[-1:]]))
    rows = [row for name, text in PLANTED.items() for row in row_of(name, text, planned, columns, store)]
    if not rows:
        return None
    drawn = sheet(rows, columns)
    return PagePicture.of(drawn, CAPTION, max(drawn.size))


def row_of(name: str, text: str, planned: Sequence[Planned], columns: Sequence[str], store: Store) -> Iterator[SheetRow]:
    """The first photo of a check, with where its truth lies; nothing where the check was not made."""
    part = next((one for one in planned if name in one.measures.values() and one.shown is not None), None)
    if part is None or part.shown is None:
        return
    shown = part.shown
    photo = picture_of_photo(shown.source, part.run.classifier.view)
    explained, maps = maps_of(part, shown, store)
    marks = (RegionMark(shown.mask),)
    cells = {
        kept.method: SheetCell(np.asarray(kept.values), Sign.SIGNED if kept.signed else Sign.NONNEGATIVE, marks=marks)
        for kept in maps
        if kept.method in columns
    }
    yield SheetRow(photo, part.run.classifier.view.geometry(*photo.size), text, (explained,), cells)


def maps_of(part: Planned, shown: MarkedPhoto, store: Store) -> tuple[str, list[KeptMap]]:
    """What was explained on a photo of a check, and the maps that are kept of it."""
    content = part.run.contents[shown.source]
    rows: list[Row] = [row for row in rows_of(part.run, store) if row.photo == content and row.image == shown.source.path]
    if not rows:
        return "", []
    subject, seed = rows[0].subject, part.run.settings.seed
    found = store.maps(replace(selection_of(part.run), photos=frozenset({(content, shown.source.frame)})))
    return rows[0].target_name, [kept for kept in found if kept.subject == subject and kept.seed == seed]
