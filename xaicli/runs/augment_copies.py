"""The copies of `xai augment`: what they are called, where they may stand, and the list of their labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xaicli.claims import is_own, is_own_picture
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.images.find import ENDINGS
from xaicli.images.names import short_hash, stems
from xaicli.images.source import Source
from xaicli.runs.audit_result import StoredAudit
from xaicli.runs.find_photos import Photos
from xaicli.runs.labelled import read_labels
from xaicli.untrusted import is_folder
from xaicli.writable_text import writable

LABELS = "labels.csv"
COLUMNS = ("image", "label", "source", "filled")
"""Of the list of labels; by these in its first line xai recognises it as its own."""


def refuse_beside(images: Photos, sources: Sequence[Source], folder: Path, copies: Mapping[Source, str]) -> None:
    """Raise UsageError where a copy would stand among the photos: with the next run it would be one of them."""
    named = [images] if isinstance(images, str | os.PathLike) else images
    folders = [Path(one) for one in named if isinstance(one, str | os.PathLike) and is_folder(Path(one))]
    homes = {os.path.realpath(one) for one in (*folders, *(source.file.parent for source in sources if source.file))}
    for place in dict.fromkeys((folder / name).parent for name in copies.values()):
        # Copies of an earlier run may stand there, finished or not.
        foreign = is_folder(place) and any(is_photo_file(path) and not is_own(path) for path in place.iterdir())
        if foreign or os.path.realpath(place) in homes:
            raise UsageError(f"copies in {place} would stand among photos", expected="a folder of their own (-o DIR)")


def is_photo_file(path: Path) -> bool:
    """Whether a search for photos would take a file."""
    return path.suffix.lower() in ENDINGS and not is_own_picture(path)


def copy_names(sources: Sequence[Source]) -> dict[Source, str]:
    """The file of each copy below the output folder, all different.

    Without dots in its name: a picture with two is taken for one that xai drew, and left out when a folder is searched.
    """
    names = {source: f"{stem.replace('.', '_')}.png" for source, stem in stems(sources).items()}
    counted: dict[str, int] = {}
    for name in names.values():
        counted[name.casefold()] = counted.get(name.casefold(), 0) + 1
    return {
        source: name if counted[name.casefold()] == 1 else f"{name.removesuffix('.png')}-{short_hash(source.path)}.png"
        for source, name in names.items()
    }


def labels_of(
    sources: Sequence[Source], hashes: Mapping[Source, str], audit: StoredAudit, table: str | Path | None
) -> dict[Source, str]:
    """The labels that are known: of the table, else of the audit."""
    listed = None if table is None else read_labels(Path(table))
    found: dict[Source, str] = {}
    for source in sources:
        path = Path(source.path)
        if listed is not None:
            label = next((listed[key] for key in (source.path, path.as_posix(), path.name, path.stem) if key in listed), None)
        else:
            label = audit.photos.get(hashes[source], {}).get("label")
        if label is not None:
            found[source] = str(label)
    return found


def write_labels(folder: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """The copies that have a label, as `xai train --data` reads them; paths of copies are relative to the folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in made:
        if row["label"] is not None:
            writer.writerow((Path(row["copy"]).relative_to(folder).as_posix(), row["label"], row["image"], row["filled"]))
    write_atomic(folder / LABELS, lambda file: file.write(writable(text.getvalue()).encode()))
