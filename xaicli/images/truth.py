"""Ground truth: where people marked the target in a photo; matched by name and seen through the model's view."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from xaicli.errors import InputError, UsageError, XaiError
from xaicli.images.annotations import Mark, Name, read_marks, text_of
from xaicli.images.shapes import Mask, Shape, Size, wrong_size
from xaicli.images.view import View
from xaicli.target_text import NameTable

Classes = frozenset[int]


@dataclass(frozen=True, eq=False)
class PhotoTruth:
    """The marks of one photo: shapes, each with the model's classes for which it counts (None: any target)."""

    marks: tuple[tuple[Classes | None, Shape], ...]
    view: View
    size: Size

    def mask(self, index: int) -> Mask | None:
        """Where objects of a class are, as the model sees them: bool (H, W); None if none is marked in the photo.

        All False if they are marked only outside the part that the model sees.
        """
        shapes = [shape for classes, shape in self.marks if classes is None or index in classes]
        if not shapes:
            return None
        union: Mask = np.logical_or.reduce([shape.draw(self.view, self.size) for shape in shapes])
        return union


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotations of many photos. `kind` names their format in words."""

    marks: dict[str, dict[Name, list[tuple[Classes | None, Mark]]]]
    kind: str

    def of(self, path: str, size: Size, view: View) -> PhotoTruth | None:
        """The marks in the photo at `path`, of that width and height; None if it is not annotated.

        Photos are matched by file name without the ending, and by folders if several annotations have that name. Raises
        InputError if two annotations fit, or if the annotated photo had another size.
        """
        name = self.match(path)
        if name is None:
            return None
        marks = self.marks[name.path.name][name]
        for _, mark in marks:
            if mark.size is not None and mark.size != size:
                raise wrong_size(f"the annotation of {path}", mark.size, size)
        return PhotoTruth(tuple((classes, mark.shape) for classes, mark in marks), view, size)

    def match(self, path: str) -> Name | None:
        """The name under which a photo is annotated."""
        photo = PurePath(path)
        entries = list(self.marks.get(photo.stem, {}))
        # The ending is ignored: photos are often converted to another format after they were annotated.
        named = [name for name in entries if name.ending in ("", photo.suffix.lower())] or entries
        shared = {name: common_folders(name.path.parts, photo.parts) for name in named}
        best = [name for name in named if shared[name] == max(shared.values())]
        if len(best) > 1:
            listed = " and ".join(sorted(map(str, best))[:2])
            raise InputError(f"{path} fits two annotations, {listed}", hint="Give photos and annotations the same folders.")
        return best[0] if best else None

    def count(self, paths: Iterable[str]) -> int:
        """How many photos are annotated; raises InputError if two photos would share an annotation, or if none has one."""
        found: dict[Name, str] = {}
        total = 0
        for path in paths:
            total += 1
            name = self.match(path)
            if name is None:
                continue
            if name in found:
                raise InputError(
                    f"{found[name]} and {path} would both have the annotation of {name}",
                    hint="Give photos and annotations the same folders.",
                )
            found[name] = path
        if total and not found:
            some = next(iter(self.marks), "nothing")
            raise InputError(f"no photo is annotated: the ground truth names {some}", expected="the photos' file names")
        return len(found)


def common_folders(one: Sequence[str], other: Sequence[str]) -> int:
    """How many folders two paths share, counted from the file upwards."""
    pairs = zip(reversed(one[:-1]), reversed(other[:-1]), strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)) - 1)


def read_truth(place: str | Path, classes: Sequence[str], count: int, mapping: str | Path | None = None) -> Truth:
    """Ground truth from a folder or file.

    classes, count: of the model; mapping: a CSV of labels and the model's classes. Raises InputError if the annotations cannot be
    read, UsageError if a label is not a class of the model and the mapping does not list it.
    """
    marks, kind = read_marks(Path(place))
    names = NameTable(classes, count)
    given = None if mapping is None else read_mapping(Path(mapping), names)
    known: dict[tuple[str | None, str], Classes | None] = {}
    found: dict[str, dict[Name, list[tuple[Classes | None, Mark]]]] = defaultdict(lambda: defaultdict(list))
    for mark in marks:
        key = (mark.label, mark.classes)
        if key not in known:
            known[key] = classes_of(mark, names, given)
        found[mark.photo.path.name][mark.photo].append((known[key], mark))
    return Truth({stem: dict(entries) for stem, entries in found.items()}, kind)


def classes_of(mark: Mark, names: NameTable, mapping: dict[str, Classes] | None) -> Classes | None:
    """The model's classes for which a mark counts; empty if the mapping does not list its label, None if any class counts."""
    if mark.label is None and not mark.classes:
        return None
    if mapping is not None and mark.label is not None:
        return mapping.get(NameTable.key(mark.label), frozenset())
    if mark.classes:
        return indices_of(mark.classes, names, mark.label or mark.classes)
    label = mark.label or ""
    # An annotation's class number is not the model's: 17 is a cat in COCO and a jay in ImageNet.
    named = [] if label.isdecimal() else names.find(label)
    if len(named) != 1:
        what = f"is the name of {len(named)} classes of the model" if named else "is not a class of the model"
        raise UsageError(f'label "{label}" of the ground truth {what}', hint="Say what labels mean: --truth-classes FILE.csv.")
    return frozenset(named)


def read_mapping(path: Path, names: NameTable) -> dict[str, Classes]:
    """Read which of the model's classes count for each label: a CSV of two columns, the second with one or more indices or names,
    joined by semicolons. A first line that names no class is a header. Labels that are not listed have no class."""
    rows = [row for row in csv.reader(io.StringIO(text_of(path))) if row and any(cell.strip() for cell in row)]
    mapping: dict[str, Classes] = {}
    for number, row in enumerate(rows):
        if len(row) < 2:
            raise UsageError(f"{path}, line {number + 1}: {row[0][:60]!r}", expected="LABEL,INDEX or LABEL,INDEX;INDEX")
        try:
            mapping[NameTable.key(row[0])] = indices_of(row[1], names, row[0])
        except XaiError as error:
            if number == 0:
                continue
            raise UsageError(f"{path}, line {number + 1}: {error.found}", expected=error.expected, hint=error.hint) from error
    if not mapping:
        raise UsageError(f"{path} maps no label", expected="rows LABEL,INDEX")
    return mapping


def indices_of(text: str, names: NameTable, label: str) -> Classes:
    """Class indices from indices or names joined by semicolons; raises UsageError."""
    indices = set()
    for part in text.split(";"):
        named = names.find(part)
        if len(named) != 1:
            found = f'"{part.strip()}" for label "{label}" is not one class'
            raise UsageError(found, expected=f"indices from 0 to {names.count - 1}")
        indices.update(named)
    return frozenset(indices)


def read_any_truth(place: str | Path) -> Truth:
    """Ground truth whose marks all count for any target, whatever their labels."""
    marks, kind = read_marks(Path(place))
    found: dict[str, dict[Name, list[tuple[Classes | None, Mark]]]] = defaultdict(lambda: defaultdict(list))
    for mark in marks:
        found[mark.photo.path.name][mark.photo].append((None, mark))
    return Truth({stem: dict(entries) for stem, entries in found.items()}, kind)
