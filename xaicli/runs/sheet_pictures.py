"""Pictures that need more than one map: overlays on one scale, and the contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.attribution import MAP, Attribution, load_own_array
from xaicli.files import write_atomic
from xaicli.images.boxes_drawn import box_marks
from xaicli.images.colour import Scale
from xaicli.images.marks import REGION, TargetMark, marks_of
from xaicli.images.photo_input import picture_of_photo
from xaicli.images.picture_file import write_png
from xaicli.images.sequence import SequenceReading, decode_sequence
from xaicli.images.sheet import SheetCell, SheetRow, sheet
from xaicli.images.source import Source
from xaicli.record import Record
from xaicli.results.sentences import FITTED_MARK
from xaicli.runs.folder import FolderRun
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.runs.records import said
from xaicli.runs.written_map import WrittenMap
from xaicli.sign import Sign


def redraw(run: FolderRun, done: Sequence[WrittenMap]) -> None:
    """Redraw all overlays on one scale per method, which is known only when all maps are made."""
    styles = shared_styles(run, done)
    for source, own in by_photo(done).items():
        stale = [
            written
            for written in own
            if written.status != "non-finite" and written.record.look != style_of(written, styles, run).as_dict()
        ]
        photo = decoded(run, source) if stale else None
        for written in stale:
            restyle(Attribution.load(written.path(".json"), photo), written, style_of(written, styles, run))


def style_of(written: WrittenMap, styles: Mapping[str, OverlayStyle], run: FolderRun) -> OverlayStyle:
    return styles.get(written.method, run.style)


def restyle(attribution: Attribution, written: WrittenMap, style: OverlayStyle) -> None:
    """Draw an overlay again, and update its record."""
    styled = replace(attribution, record=replace(attribution.record, look=style.as_dict()))
    write_png(written.path(".png"), style.draw(styled))
    content = styled.record.to_json().encode()
    write_atomic(written.path(".json"), lambda file: file.write(content))


def by_photo(done: Sequence[WrittenMap]) -> dict[Source, list[WrittenMap]]:
    """The maps of each photo, in the order of the run."""
    found: dict[Source, list[WrittenMap]] = {}
    for written in done:
        found.setdefault(written.source, []).append(written)
    return found


def shared_styles(run: FolderRun, done: Sequence[WrittenMap]) -> dict[str, OverlayStyle]:
    """The run's style with one range per method, over all its finite maps."""
    styles = {}
    for label in dict.fromkeys(written.method for written in done):
        own = [written for written in done if written.method == label and written.status != "non-finite"]
        if own:
            scale = Scale.of(
                (load_own_array(written.path(".npy"), written.record, MAP) for written in own), Sign(own[0].record.sign)
            )
            styles[label] = replace(run.style, scale=scale)
    return styles


def read(run: FolderRun, written: WrittenMap) -> Attribution:
    """A map read from disk, with its photo."""
    run.output.fetch(written.stem, written.record)
    return Attribution.load(written.path(".json"), decoded(run, written.source))


def decoded(run: FolderRun, source: Source) -> Image.Image:
    own, view = run.settings, run.classifier.view
    if view.frames:
        return decode_sequence(source, view, SequenceReading(own.background, own.decode_timeout, own.bands))[0].image
    return picture_of_photo(source, view, own.background, own.decode_timeout, own.bands)


def draw_sheet(run: FolderRun, done: Sequence[WrittenMap], path: Path) -> None:
    """Draw one contact sheet: a row per photo, a column per method (and per target, for the top k)."""
    photos = by_photo(done)
    columns = list(dict.fromkeys(column(written.record) for written in done))
    labels = {column(written.record): written.method for written in done}
    ranges = {label: style.scale for label, style in shared_styles(run, done).items()} if run.shared else {}
    scales = {name: scale for name in columns if (scale := ranges.get(labels[name])) is not None}
    rows = (row(run, source, own) for source, own in photos.items())
    picture = sheet(
        rows,
        columns,
        count=len(photos),
        scales=scales,
        colormap=run.style.colormap,
        alpha=run.style.alpha,
        look=run.style.look,
        title=run.classifier.name,
    )
    write_png(path, picture)


def column(record: Record) -> str:
    """The column of a map: its method, and its rank among the targets if there are several."""
    return record.method if len(record.targets) < 2 else f"{record.method} #{record.targets.index(record.target) + 1}"


def row(run: FolderRun, source: Source, own: Sequence[WrittenMap]) -> SheetRow:
    record, small = own[0].record, own[0].thumbnail
    assert small is not None
    cells = {column(written.record): cell(written) for written in own}
    lines = (said(record),)
    return SheetRow(small, run.classifier.view.geometry(*record.size), source.name, lines, cells)


def cell(written: WrittenMap) -> SheetCell:
    """A map with its marks, read from disk."""
    marked = [name for name in (REGION,) if name in written.record.arrays]
    marks = marks_of({name: load_own_array(written.path(f".{name}.npy"), written.record, name) for name in marked})
    marks += box_marks(written.record.box, written.record.size)
    return cell_of(written.record, load_own_array(written.path(".npy"), written.record, MAP), marks)


def cell_of(record: Record, values: NDArray[np.float32], marks: tuple[TargetMark, ...] = ()) -> SheetCell:
    """A map on a sheet with the lines under it: the target if it is not the decision, and scores."""
    of_target = () if record.rule == "top1" else (f"{record.target_name} {record.target_probability:.2f}",)
    scores = tuple(
        f"{label} {value:.3f}{mark(record, label)}" for label, value in record.scores.items() if isinstance(value, float)
    )
    return SheetCell(values, Sign(record.sign), of_target + scores, marks)


def mark(record: Record, metric: str) -> str:
    """The mark of a score by the metric to which the map was fitted."""
    return FITTED_MARK if record.fitted_to and metric.partition("@")[0] == record.fitted_to else ""
