"""Photos of a folder with their classes, from the names of folders or from a table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.images.find import find
from xaicli.images.source import Source
from xaicli.stamps import stamp
from xaicli.untrusted import is_folder, read_text, size_of


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos in order, the class of each, and the names of the classes; names: paths below their folder."""

    sources: tuple[Source, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Keys that identify the photos in a later run: paths below the folder, and file sizes."""
        sizes = [size_of(source.file) if source.file else 0 for source in self.sources]
        return tuple(f"{name} {size}" for name, size in zip(self.names, sizes, strict=True))

    @property
    def stamp(self) -> str:
        """A hash of the photos and labels from which a bank is made."""
        return stamp({"photos": list(self.keys), "labels": list(self.labels), "classes": list(self.classes)})


def find_labelled(folder: str | Path, table: str | Path | None = None, per_class: int | None = None) -> LabelledPhotos:
    """All photos below a folder with their classes: the name of the first-level folder that contains the photo, or the label in a
    CSV file with columns image and label. per_class: use only this many photos of each class, the first ones.

    Raises InputError and UsageError. A photo without a label is an error with folders, and is left out with a table.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise InputError(f"{folder} is no folder", expected="one of labelled photos, FOLDER/CLASS/photo.jpg")
    sources = find([str(folder)], recursive=True)
    names = [source.file.relative_to(folder).as_posix() if source.file else source.name for source in sources]
    table_labels = None if table is None else read_labels(Path(table))
    pairs = [(source, name, label_of(name, table_labels, folder)) for source, name in zip(sources, names, strict=True)]
    counted: Counter[str] = Counter()
    kept = []
    for source, name, label in pairs:
        if label is not None and (per_class is None or counted[label] < per_class):
            counted[label] += 1
            kept.append((source, name, label))
    if not kept:
        raise InputError(f"{table} labels no photo below {folder}", expected="rows IMAGE,LABEL, with paths below that folder")
    classes = tuple(sorted(counted))
    index = {name: at for at, name in enumerate(classes)}
    photos, paths, labels = zip(*kept, strict=True)
    return LabelledPhotos(photos, tuple(index[label] for label in labels), classes, paths)


def label_of(name: str, table: dict[str, str] | None, folder: Path) -> str | None:
    """The class of a photo, by its path below the folder; None if a table does not list it."""
    if table is not None:
        path = Path(name)
        return next((table[key] for key in (name, path.name, path.stem) if key in table), None)
    label, slash, _ = name.partition("/")
    if not slash:
        raise UsageError(
            f"{folder / name} lies in no folder of a class", expected="FOLDER/CLASS/photo.jpg", hint="Or give --labels FILE.csv."
        )
    return label


def read_labels(path: Path) -> dict[str, str]:
    """Labels by photo from a CSV file with the columns image and label, or two columns without a header."""
    try:
        text = read_text(path, "a CSV file with the columns image and label")
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row and not row[0].startswith("#")]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a CSV file with the columns image and label") from error
    header = [cell.lower() for cell in rows[0]] if rows else []
    image, label = 0, 1
    if {"image", "label"} <= set(header):
        image, label = header.index("image"), header.index("label")
        del rows[0]
    labels: dict[str, str] = {}
    for row in rows:
        if len(row) <= max(image, label) or not row[label]:
            raise InputError(f"{path} has a row without a label: {','.join(row)}", expected="IMAGE,LABEL")
        if labels.setdefault(row[image], row[label]) != row[label]:
            raise InputError(f"{path} gives {row[image]} two labels", expected="one row per photo")
    return labels
