"""Photos of a folder with their classes, from the names of folders or from a table."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.images.find import find
from xaicli.images.names import is_sample
from xaicli.images.source import Source
from xaicli.progress import SILENT, Progress
from xaicli.runs.find_photos import Photos, folders_in
from xaicli.runs.table_rows import rows_of
from xaicli.stamps import stamp
from xaicli.untrusted import is_folder, read_text, size_of
from xaicli.writable_text import writable

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})
"""Folders of these names hold the parts of a data set, not its classes."""


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


def find_labelled(
    folder: str | Path, table: str | Path | None = None, per_class: int | None = None, progress: Progress = SILENT
) -> LabelledPhotos:
    """All photos below a folder with their classes: the name of the first-level folder that contains the photo, or the label in a
    CSV file with columns image and label. per_class: use only this many photos of each class, the first ones.

    Raises InputError and UsageError. A photo without a label is an error with folders, and is left out with a table.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise InputError(f"{folder} is no folder", expected="one of labelled photos, FOLDER/CLASS/photo.jpg")
    sources = find([str(folder)], recursive=True)
    names = [source.file.relative_to(folder).as_posix() if source.file else source.name for source in sources]
    listed = None if table is None else labels_in(Path(table), dict(zip(sources, names, strict=True)), progress)
    pairs = [
        (source, name, folder_of(name, folder) if listed is None else listed.get(source))
        for source, name in zip(sources, names, strict=True)
    ]
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


def folder_of(name: str, folder: Path) -> str:
    """The class of a photo, by its path below the folder."""
    label, slash, _ = name.partition("/")
    if not slash:
        raise UsageError(
            f"{folder / name} lies in no folder of a class", expected="FOLDER/CLASS/photo.jpg", hint="Or give --labels FILE.csv."
        )
    return label


def class_folders(images: Photos, sources: Sequence[Source]) -> dict[Source, str]:
    """The class of each photo by the name of a folder: of the one right below the folder that was named (FOLDER/CLASS/photo.jpg),
    or, where class folders or photos were named themselves, of the one in which it lies.

    Empty if photos lie in both ways, if all lie in one folder, or if the folders are splits.
    """
    files = {source: source.file for source in sources if source.file is not None and not is_sample(source)}
    if len(files) < len(sources):
        return {}
    homes = {source: Path(os.path.abspath(file)).parent for source, file in files.items()}
    named = [Path(os.path.abspath(folder)) for folder in folders_in(images)]
    below = {
        source: home.relative_to(folder).parts[0] for source, home in homes.items() for folder in named if folder in home.parents
    }
    if below:
        classes = below if len(below) == len(sources) else {}
    else:
        classes = {source: home.name for source, home in homes.items()} if len(set(homes.values())) > 1 else {}
    if {name.lower() for name in classes.values()} <= SPLITS:
        return {}
    return {source: writable(name) for source, name in classes.items()}


def labels_in(table: Path, photos: Mapping[Source, str], progress: Progress = SILENT) -> dict[Source, str]:
    """The labels that a table gives photos, each with the path that names it whole; says where a name of the table fits several,
    which then have no label."""
    listed = read_labels(table)
    rows = rows_of(listed, photos)
    if rows.shared:
        progress.warn(f"{rows.doubt}, so {table} gives them no label; name their folders in it")
    return {source: listed[name] for source, name in rows.by_photo.items()}


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
