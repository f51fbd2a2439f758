"""Photos to train on, and their labels: an ImageFolder, a list of files, a CSV, a Hugging Face image folder, tar shards."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.claims import holds_copies
from xaicli.errors import InputError, UsageError
from xaicli.images.annotations import text_of
from xaicli.images.elsewhere import Elsewhere
from xaicli.images.find import ENDINGS, find, natural
from xaicli.images.source import Source
from xaicli.passes.seeds import stream
from xaicli.runs.labelled import SPLITS
from xaicli.stamps import stamp
from xaicli.training.tar_shards import read_shards, shards_of
from xaicli.untrusted import is_file, is_folder, is_there, readable
from xaicli.words import count, type_of

FORMS = (
    "a folder with one folder per class, a folder of photos or of tar shards, FILE.csv with columns image and label, or @list.txt"
)
IMAGE_COLUMNS = ("image", "file_name", "file", "filename", "path", "photo")
LABEL_COLUMNS = ("label", "labels", "class", "target", "category")
METADATA = ("metadata.csv", "metadata.jsonl")
"""The names of tables in Hugging Face's image folders."""

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Listing:
    """Photos by name, each with a class index, and the names of the classes; without labels these are None and empty."""

    sources: tuple[Source, ...]
    names: tuple[str, ...]
    labels: Labels | None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)

    def rows(self, chosen: Sequence[int] | NDArray[np.int64]) -> Listing:
        """Some of the photos, in that order."""
        labels = None if self.labels is None else self.labels[np.asarray(chosen, dtype=np.int64)]
        picked = [int(row) for row in chosen]
        return Listing(tuple(self.sources[row] for row in picked), tuple(self.names[row] for row in picked), labels, self.classes)

    def sample(self, count: int | None, seed: int) -> Listing:
        """`count` photos drawn with the seed, in the order of the listing; all of them if there are not more."""
        if count is None or count >= len(self):
            return self
        return self.rows(np.sort(stream(seed, "photos to train on").permutation(len(self))[:count]))

    def split(self, held: int, seed: int) -> tuple[Listing, Listing]:
        """Split into photos to train on and `held` photos held out, which are drawn with the seed."""
        order = stream(seed, "held-out photos").permutation(len(self))
        return self.rows(np.sort(order[held:])), self.rows(np.sort(order[:held]))

    def fingerprint(self) -> str:
        """16 hex digits over names, sizes in bytes and labels, which a checkpoint records."""
        sizes = [os.path.getsize(source.file) if source.file else size_elsewhere(source) for source in self.sources]
        labels = None if self.labels is None else self.labels.tolist()
        return stamp({"names": self.names, "sizes": sizes, "labels": labels, "classes": self.classes})

    def require_labels(self, task: str, place: str) -> None:
        """Raise UsageError if there are no labels."""
        if self.labels is None:
            expected = "a folder with one folder per class, or FILE.csv with columns image and label"
            raise UsageError(f"{task} learns from labels, but {place} has none", expected=expected)


def size_elsewhere(source: Source) -> int:
    """Bytes of a tar's member; 0 for a photo in memory."""
    return source.memory.size if isinstance(source.memory, Elsewhere) else 0


def read_listing(place: str, classes: Sequence[str] = ()) -> Listing:
    """The photos that `--data` or `--val` names.

    classes: names of the labels; for held-out photos, those of the training photos. If empty, the names found are used. Raises
    InputError and UsageError.
    """
    path = Path(place).expanduser()
    if place.startswith("@") and not is_there(path):
        return unlabelled(find([place]), Path(place[1:]).parent)
    if shards := shards_of(path):
        return read_tars(path, shards, classes)
    if is_folder(path):
        return read_folder(path, classes)
    if is_file(path) and path.suffix.lower() in (".csv", ".jsonl"):
        return read_table(path, classes)
    if not is_there(path):
        raise InputError(f"there is nothing at {readable(path)}", expected=FORMS)
    raise InputError(f"{readable(path)} is not a set of photos", expected=FORMS)


def read_folder(folder: Path, classes: Sequence[str]) -> Listing:
    """Read a folder: by its table if it has one, else by its folders, else as photos without labels."""
    for name in METADATA:
        if is_file(folder / name):
            return read_table(folder / name, classes)
    shown = [Path(entry.path) for entry in os.scandir(folder) if is_folder(entry.path) and not entry.name.startswith(".")]
    children = sorted((child for child in shown if not holds_copies(child)), key=lambda child: child.name)
    loose = any(is_file(entry.path) and Path(entry.name).suffix.lower() in ENDINGS for entry in os.scandir(folder))
    if not children:
        return unlabelled(find([str(folder)]), folder)
    if loose:
        raise InputError(f"{readable(folder)} holds photos beside its folders", expected=FORMS)
    if {child.name.lower() for child in children} <= SPLITS:
        names = " and ".join(child.name for child in children[:3])
        hint = f"Write --data {readable(children[0])}, and --val for the held-out ones."
        raise UsageError(f"the folders of {readable(folder)} are called {names}: splits, not classes", hint=hint)
    return read_class_folders(folder, children, classes)


def read_tars(path: Path, shards: Sequence[Path], classes: Sequence[str]) -> Listing:
    """The photos of tar shards, with labels where each has one."""
    sources, texts = read_shards(shards)
    # Shards may be renamed or moved: a photo's name is its member's, after its shard's.
    parent = readable(shards[0].parent)
    names = tuple(source.path.removeprefix(f"{parent}/") for source in sources)
    labelled = [text for text in texts if text is not None]
    if not labelled:
        return Listing(tuple(sources), names, None)
    if len(labelled) < len(sources):
        first = names[texts.index(None)]
        raise InputError(f"{first} has no class, but others have one", expected="a member KEY.cls beside each photo, or none")
    known = tuple(classes) or classes_of(labelled, path)
    index = {name: at for at, name in enumerate(known)}
    for text, name in zip(labelled, names, strict=True):
        if text not in index:
            raise unknown_class(text, name, known)
    return Listing(tuple(sources), names, np.array([index[text] for text in labelled], dtype=np.int64), known)


def read_class_folders(folder: Path, children: Sequence[Path], classes: Sequence[str]) -> Listing:
    """One folder per class, classes in the order of their names."""
    known = tuple(classes) or tuple(child.name for child in children)
    index = {name: at for at, name in enumerate(known)}
    sources: list[Source] = []
    labels: list[int] = []
    for child in children:
        if child.name not in index:
            raise unknown_class(child.name, readable(folder), known)
        found = find([str(child)], recursive=True)
        sources += found
        labels += [index[child.name]] * len(found)
    return Listing(tuple(sources), names_below(sources, folder), np.array(labels, dtype=np.int64), known)


def read_table(path: Path, classes: Sequence[str]) -> Listing:
    """A CSV or JSON-lines file with a photo in each row, by its path from the file's folder, and its label if there is one."""
    rows = list(json_rows(path) if path.suffix.lower() == ".jsonl" else csv_rows(path))
    if not rows:
        raise InputError(f"{readable(path)} lists no photos", expected="a row per photo")
    labelled = [label is not None for _, _, label in rows]
    if any(labelled) != all(labelled):
        place, _, _ = rows[labelled.index(False)]
        raise InputError(f"{place} has no label, but others have one", expected="a label in each row, or in none")
    sources, seen = [], dict[str, str | None]()
    for place, name, label in rows:
        if seen.setdefault(name, label) != label:
            raise InputError(f"{place} gives {name} another label than before", expected="one label per photo")
        sources.append(source_of(path, place, name))
    if not all(labelled):
        return Listing(tuple(sources), tuple(name for _, name, _ in rows), None)
    texts = [str(label) for *_, label in rows]
    known = tuple(classes) or classes_of(texts, path)
    index = {name: at for at, name in enumerate(known)}
    for text, (place, *_) in zip(texts, rows, strict=True):
        if text not in index:
            raise unknown_class(text, place, known)
    labels = np.array([index[text] for text in texts], dtype=np.int64)
    return Listing(tuple(sources), tuple(name for _, name, _ in rows), labels, known)


def csv_rows(path: Path) -> Iterable[tuple[str, str, str | None]]:
    """(place, photo, label) of each row; columns by name, or photo and label in this order."""
    rows = [(at, row) for at, row in enumerate(csv.reader(io.StringIO(text_of(path))), 1) if row and any(map(str.strip, row))]
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
    label = next((header.index(name) for name in LABEL_COLUMNS if name in header), None)
    if image is None:
        image, label = 0, 1 if len(header) > 1 else None
    else:
        rows = rows[1:]
    for at, row in rows:
        place = f"{readable(path)}, line {at}"
        if len(row) <= max(image, label or 0) or not row[image].strip():
            raise InputError(f"{place} has {count(len(row), 'cell')}", expected="a photo, and its label if others have one")
        yield place, row[image].strip(), None if label is None else row[label].strip() or None


def json_rows(path: Path) -> Iterable[tuple[str, str, str | None]]:
    """(place, photo, label) of each line of JSON."""
    for at, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{readable(path)}, line {at}"
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place} is not JSON", expected='{"file_name": "a.jpg", "label": "cat"}') from error
        image = next((row[name] for name in IMAGE_COLUMNS if name in row), None) if isinstance(row, dict) else None
        if not isinstance(image, str) or not image:
            raise InputError(f"{place} names no photo", expected='{"file_name": "a.jpg", "label": "cat"}')
        label = next((row[name] for name in LABEL_COLUMNS if name in row), None)
        if label is not None and (isinstance(label, bool) or not isinstance(label, str | int)):
            raise InputError(f"{place} has a label that is {type_of(label)}", expected="a name or a class index")
        yield place, image, None if label is None else str(label)


def source_of(table: Path, place: str, name: str) -> Source:
    """The photo of a row; its path starts from the table's folder, or else from the current folder."""
    for path in (table.parent / name, Path(name)):
        if is_file(path):
            return Source.of_file(path)
    raise InputError(f"{place}: there is no photo {name}", expected=f"a path from {readable(table.parent)}")


def classes_of(texts: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names of the classes: those that occur, sorted; if labels are numbers, every index up to the largest."""
    if not all(text.isdecimal() for text in texts):
        return tuple(sorted(set(texts), key=natural))
    indices = {int(text) for text in texts}
    # A single large label would otherwise make a network of a million outputs.
    if max(indices) > 10 * len(indices) + 100:
        found = f"{readable(path)} has {count(len(indices), 'class', 'classes')}, and one is number {max(indices)}"
        raise InputError(found, expected="indices from 0, without gaps")
    return tuple(map(str, range(max(indices) + 1)))


def unlabelled(sources: Sequence[Source], folder: Path) -> Listing:
    return Listing(tuple(sources), names_below(sources, folder), None)


def names_below(sources: Sequence[Source], folder: Path) -> tuple[str, ...]:
    """Paths from the folder, so that a data set keeps its fingerprint when it moves."""
    names = []
    for source in sources:
        path = source.file or Path(source.path)
        names.append((path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)).as_posix())
    return tuple(readable(Path(name)) for name in names)


def unknown_class(name: str, place: str, known: Sequence[str]) -> InputError:
    found = f"{place} has a class {name}, which is none of the {len(known)} that are known"
    return InputError(found, expected=", ".join([*known[:3], "…"]))
