"""Pictures that need more than one map: overlays on one scale, overlays in another style, the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xaicli.attribution import Attribution, Record, load_array
from xaicli.files import write_atomic
from xaicli.images.colour import Scale
from xaicli.images.decode import decode
from xaicli.images.picture_file import write_png
from xaicli.images.sheet import SheetCell, SheetRow, sheet
from xaicli.images.source import Source
from xaicli.runs.folder import FolderRun, Written
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.sign import Sign


def redraw(run: FolderRun, done: Sequence[Written], *, shared: bool) -> None:
    """Bring all overlays of a run to its style: on one scale for all maps of a method, or each on its own."""
    styles = shared_styles(run, done) if shared else {}
    for written in done:
        style = styles.get(written.record.method, run.style)
        if written.record.status == "non-finite" or written.record.look == style.as_dict() or not (written.kept or shared):
            continue
        attribution = read(run, written)
        styled = replace(attribution, record=replace(attribution.record, look=style.as_dict()))
        drawing = style.draw(styled)
        write_png(written.path(".png"), drawing)
        content = styled.record.to_json().encode("utf-8", "backslashreplace")
        write_atomic(written.path(".json"), lambda file, content=content: file.write(content))  # type: ignore[misc]


def shared_styles(run: FolderRun, done: Sequence[Written]) -> dict[str, OverlayStyle]:
    """The run's style with one range a method, over all its finite maps."""
    styles = {}
    for label in dict.fromkeys(written.record.method for written in done):
        own = [written for written in done if written.record.method == label and written.record.status != "non-finite"]
        if own:
            scale = Scale.of((load_array(written.path(".npy")) for written in own), Sign(own[0].record.sign))
            styles[label] = replace(run.style, scale=scale)
    return styles


def read(run: FolderRun, written: Written) -> Attribution:
    """A map as it is on disk, with its photo."""
    photo = decode(
        written.source, frame=written.source.frame, background=run.settings.background, seconds=run.settings.decode_timeout
    )
    return Attribution.load(written.path(".json"), photo.image)


def draw_sheet(run: FolderRun, done: Sequence[Written], path: Path, *, shared: bool) -> None:
    """One contact sheet of all: a row a photo, a column a method (and, for the top k, a target)."""
    by_source: dict[Source, list[Written]] = {}
    for written in done:
        by_source.setdefault(written.source, []).append(written)
    columns = list(dict.fromkeys(column(written.record) for written in done))
    labels = {column(written.record): written.record.method for written in done}
    ranges = {label: style.scale for label, style in shared_styles(run, done).items()} if shared else {}
    scales = {name: scale for name in columns if (scale := ranges.get(labels[name])) is not None}
    rows = (row(run, source, own) for source, own in by_source.items())
    picture = sheet(
        rows,
        columns,
        count=len(by_source),
        scales=scales,
        colormap=run.style.colormap,
        alpha=run.style.alpha,
        look=run.style.look,
        title=run.classifier.name,
    )
    write_png(path, picture)


def column(record: Record) -> str:
    """The column of a map: its method, and its rank among the targets where there are several."""
    return record.method if len(record.targets) < 2 else f"{record.method} #{record.targets.index(record.target) + 1}"


def row(run: FolderRun, source: Source, own: Sequence[Written]) -> SheetRow:
    photo = decode(source, frame=source.frame, background=run.settings.background, seconds=run.settings.decode_timeout)
    decision = own[0].record.decision
    cells = {column(written.record): cell(written) for written in own}
    lines = (f"{decision.name} {decision.probability:.2f}",)
    return SheetRow(photo.image, run.classifier.view.geometry(*photo.image.size), source.name, lines, cells)


def cell(written: Written) -> SheetCell:
    return cell_of(written.record, load_array(written.path(".npy")))


def cell_of(record: Record, values: NDArray[np.float32]) -> SheetCell:
    """A map of a sheet with what stands under it: the target where it is not the decision, and scores."""
    of_target = () if record.rule == "top1" else (f"{record.target_name} {record.target_probability:.2f}",)
    scores = tuple(f"{label} {value:.3f}" for label, value in record.scores.items() if isinstance(value, float))
    return SheetCell(values, Sign(record.sign), of_target + scores)
