"""The copies of `xai augment`: what they are called, where they may stand, and the list of their labels."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xaicli.claims import COLUMNS_OF_COPIES, LIST_OF_COPIES, holds_copies, is_copy, is_own, is_own_picture
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.images.find import ENDINGS
from xaicli.images.names import short_hash, stems
from xaicli.images.source import Source
from xaicli.progress import SILENT, Progress
from xaicli.runs.audit_result import StoredAudit
from xaicli.runs.find_photos import Photos, folders_in
from xaicli.runs.labelled import class_folders, labels_in
from xaicli.untrusted import is_folder
from xaicli.words import count
from xaicli.writable_text import writable


def refuse_beside(images: Photos, sources: Sequence[Source], folder: Path, copies: Mapping[Source, str]) -> None:
    """Raise UsageError where a copy would stand among the photos: with the next run it would be one of them."""
    homes = {os.path.realpath(one) for one in (*folders_in(images), *(source.file.parent for source in sources if source.file))}
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
    images: Photos,
    sources: Sequence[Source],
    hashes: Mapping[Source, str],
    audit: StoredAudit,
    table: str | Path | None,
    progress: Progress = SILENT,
) -> dict[Source, str]:
    """The labels that are known: of the table, else of the audit, and of the folders for photos of which the audit tells none.

    Where the labels of the audit are other words than the names of the folders, these are no labels. A photo that lies under two
    of them has none.
    """
    if table is not None:
        return labels_in(Path(table), {source: source.path for source in sources}, progress)
    known = {source: str(label) for source in sources if (label := audit.photos.get(hashes[source], {}).get("label")) is not None}
    folders = class_folders(images, sources)
    if any(folders.get(source) != label for source, label in known.items()):
        return known
    of_content: dict[str, set[str]] = defaultdict(set)
    for source, label in folders.items():
        of_content[hashes[source]].add(label)
    audited = audit.photos if any(row.get("label") is not None for row in audit.photos.values()) else {}
    named = {
        source: label
        for source, label in folders.items()
        if hashes[source] not in audited and len(of_content[hashes[source]]) == 1
    }
    if named:
        told = sorted(set(named.values()))
        progress.say(f"labels from the names of {count(len(told), 'folder')}: {', '.join(told[:4])}")
    return known | named


def conclude(folder: Path, made: Sequence[Mapping[str, Any]], inputs: Iterable[Path]) -> int:
    """Write the list of the copies that were made, and remove those of an earlier run, unless this one read them; returns how
    many these were."""
    write_labels(folder, made)
    kept = {os.path.realpath(path) for path in (*inputs, *(row["copy"] for row in made))}
    left = [path for path in pictures_in(folder) if is_copy(path) and os.path.realpath(path) not in kept]
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink()
            # Only if nothing else is in it.
            path.parent.rmdir()
    return len(left)


def pictures_in(folder: Path) -> Iterator[Path]:
    """The PNG files of a folder and those below it, but for others that hold copies."""
    for path in sorted(folder.iterdir()):
        if is_folder(path) and not path.is_symlink() and not holds_copies(path):
            yield from pictures_in(path)
        elif path.suffix == ".png":
            yield path


def write_labels(folder: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """List the copies that have a label, as `xai train --data` reads them; paths of copies are relative to the folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS_OF_COPIES)
    for row in made:
        if row["label"] is not None:
            writer.writerow((Path(row["copy"]).relative_to(folder).as_posix(), row["label"], row["image"], row["filled"]))
    write_atomic(folder / LIST_OF_COPIES, lambda file: file.write(writable(text.getvalue()).encode()))
