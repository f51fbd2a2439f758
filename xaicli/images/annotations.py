"""Readers of annotations: COCO JSON, Pascal VOC XML, YOLO text, a CSV of boxes, PNG masks.

All of it is untrusted: sizes are limited, numbers must be finite, and XML that declares entities is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree

from xaicli.errors import InputError, fault_in_content
from xaicli.images.shapes import MaskFile, Polygons, Rectangle, RelativeRectangle, RunLengths, Shape, Size
from xaicli.untrusted import is_file, is_folder, read_text

LARGEST_FILE = 1 << 30
BOX_COLUMNS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))
PHOTO_COLUMNS = ("file", "image", "filename", "file_name", "photo")
LABEL_COLUMNS = ("label", "class", "name", "category")


class Name(NamedTuple):
    """The name by which an annotation calls its photo: folders and stem, and the ending if it is known."""

    path: PurePosixPath
    ending: str = ""

    @classmethod
    def of(cls, text: str) -> Name:
        path = PurePosixPath(text.replace("\\", "/"))
        return cls(path.with_suffix("") if path.name else path, path.suffix.lower())

    def __str__(self) -> str:
        return f"{self.path}{self.ending}"


@dataclass(frozen=True)
class Mark:
    """One marked object of a photo.

    label: as annotated, None if the mark counts for any target; size: of the annotated photo, if stated; classes: the model's
    class indices, joined by semicolons, if the annotation itself states them.
    """

    photo: Name
    label: str | None
    shape: Shape
    size: Size | None = None
    classes: str = ""


def read_marks(place: Path) -> tuple[list[Mark], str]:
    """All marks in a folder or file, and their source in words; raises InputError if there are none."""
    if is_file(place):
        kinds = {suffix: [place] for suffix in READERS if place.suffix.lower() == suffix}
    elif is_folder(place):
        kinds = {suffix: sorted(path for path in place.rglob(f"*{suffix}") if is_file(path)) for suffix in READERS}
    else:
        raise InputError(f"no ground truth at {place}", expected="a folder of annotations, or one file of them")
    found: dict[str, list[Mark]] = {}
    for suffix, paths in kinds.items():
        marks = [mark for path in paths for mark in READERS[suffix](path, place)]
        # Photos, perhaps PNGs, often lie beside their annotations. So PNG masks are searched for only if there are no other
        # annotations.
        if marks and not (suffix == ".png" and found):
            found[suffix] = marks
    if not found:
        raise InputError(f"{place} holds no annotations", expected="PNG masks, COCO JSON, YOLO text, VOC XML, or a CSV of boxes")
    if len(found) > 1:
        raise InputError(f"{place} holds annotations of several kinds: {', '.join(found)}", hint="Name the file that counts.")
    suffix, marks = found.popitem()
    return marks, WORDS[suffix]


def below(path: Path, root: Path) -> PurePosixPath:
    """The path of an annotation file below the given folder, without its ending."""
    return PurePosixPath((path.relative_to(root) if is_folder(root) else Path(path.name)).with_suffix("").as_posix())


def text_of(path: Path) -> str:
    return read_text(path, "annotations", LARGEST_FILE, "replace")


def numbers(values: Any, what: str, count: int = 0) -> tuple[float, ...]:
    """Read finite numbers, exactly `count` if given; raises InputError."""
    try:
        read = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} holds something that is not a number", expected="coordinates") from error
    if not all(math.isfinite(value) for value in read) or (count and len(read) != count):
        raise InputError(f"{what} holds {len(read)} coordinates", expected=f"{count or 'finite'} numbers")
    return read


def read_coco(path: Path, root: Path) -> Iterator[Mark]:
    """Objects of a COCO JSON: polygons, run lengths, or boxes if there is no segmentation."""
    try:
        content = json.loads(text_of(path))
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        for note in content["annotations"]:
            image = images[note["image_id"]]
            size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
            yield Mark(Name.of(str(image["file_name"])), categories[note["category_id"]], coco_shape(note, path), size)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a COCO annotation ({fault_in_content(error)})", expected="images, categories, annotations"
        ) from error


def coco_shape(note: dict[str, Any], path: Path) -> Shape:
    outline = note.get("segmentation")
    if isinstance(outline, dict):
        counts = outline["counts"]
        rows, columns = (int(side) for side in outline["size"])
        return RunLengths(tuple(uncompressed(counts) if isinstance(counts, str) else map(int, counts)), (rows, columns))
    if outline:
        parts = tuple(numbers(part, str(path)) for part in outline)
        if any(len(part) < 6 or len(part) % 2 for part in parts):
            raise InputError(f"{path} holds a polygon of fewer than three points", expected="x, y, x, y, x, y, ...")
        return Polygons(parts)
    x, y, width, height = numbers(note["bbox"], str(path), 4)
    return Rectangle((x, y, x + width, y + height))


def uncompressed(text: str) -> list[int]:
    """Decode COCO's run lengths from text.

    Each character, counted from `0`, holds 5 bits and a sixth bit that says whether more follow. The fifth bit of a number's last
    character is its sign. From the fourth number on, each is stored as the difference from the last but one.
    """
    counts: list[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"{char!r} in run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def read_voc(path: Path, root: Path) -> Iterator[Mark]:
    """Boxes of a Pascal VOC XML; its pixels count from 1 and include the last."""
    text = text_of(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} declares entities", expected="plain Pascal VOC XML")
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML: {error}") from error
    width, height = (int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    for item in tree.iter("object"):
        corners = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        x0, y0, x1, y1 = numbers(corners, str(path), 4)
        size = (width, height) if width and height else None
        yield Mark(Name(below(path, root)), (item.findtext("name") or "").strip(), Rectangle((x0 - 1, y0 - 1, x1, y1)), size)


def read_yolo(path: Path, root: Path) -> Iterator[Mark]:
    """Boxes and polygons of one photo, in fractions of its sides; class numbers count the lines of `classes.txt`, if there is
    one."""
    if path.stem in ("classes", "labels", "obj"):
        return
    names = class_names(path.parent, root)
    for line in text_of(path).splitlines():
        if not line.strip():
            continue
        label, *rest = line.split()
        values = numbers(rest, f"{path}: {line.strip()[:60]!r}")
        if not label.isdecimal() or (len(values) != 4 and (len(values) < 6 or len(values) % 2)):
            raise InputError(f"{path} holds {line.strip()[:60]!r}", expected="CLASS x y w h, or CLASS x1 y1 x2 y2 x3 y3 ...")
        label = names[int(label)] if int(label) < len(names) else label
        if len(values) == 4:
            x, y, width, height = values
            shape: Shape = RelativeRectangle((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        else:
            shape = Polygons((values,), relative=True)
        yield Mark(Name(below(path, root)), label, shape)


def class_names(folder: Path, root: Path) -> list[str]:
    """YOLO's class names, one per line, from the folder of the annotations or the given folder."""
    for place in (folder / "classes.txt", root / "classes.txt"):
        if is_file(place):
            return [line.strip() for line in text_of(place).splitlines()]
    return []


def read_boxes(path: Path, root: Path) -> Iterator[Mark]:
    """Boxes of a CSV with a header; a CSV with other columns holds none.

    Columns: the photo (`file`), `x0,y0,x1,y1`; optionally `label`, `width`, `height`, and a column that ends in `indices` with
    the model's classes, joined by semicolons.
    """
    reader = csv.DictReader(io.StringIO(text_of(path)))
    columns = {name.strip().lower(): name for name in reader.fieldnames or [] if name}
    corners = next((names for names in BOX_COLUMNS if all(name in columns for name in names)), None)
    photo = next((columns[name] for name in PHOTO_COLUMNS if name in columns), None)
    if corners is None or photo is None:
        return
    label = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    classes = next((spelled for name, spelled in columns.items() if name.endswith("indices")), None)
    for row in reader:
        box = numbers([row[columns[name]] for name in corners], f"{path}, line {reader.line_num}", 4)
        size = None
        if "width" in columns and "height" in columns:
            width, height = numbers([row[columns["width"]], row[columns["height"]]], f"{path}, line {reader.line_num}", 2)
            size = (int(width), int(height))
        name = row[label].strip() if label and row[label] else None
        shape = Rectangle((box[0], box[1], box[2], box[3]))
        yield Mark(Name.of(row[photo]), name, shape, size, (row[classes] or "") if classes else "")


def read_mask(path: Path, root: Path) -> Iterator[Mark]:
    """A mask `STEM.png`. In a folder CLASS below the given folder it marks that class; otherwise it counts for any target."""
    folders = below(path, root).parts[:-1]
    yield Mark(Name(PurePosixPath(path.stem)), folders[-1] if folders else None, MaskFile(path))


READERS: dict[str, Callable[[Path, Path], Iterator[Mark]]] = {
    ".json": read_coco,
    ".csv": read_boxes,
    ".xml": read_voc,
    ".txt": read_yolo,
    ".png": read_mask,
}
WORDS = {".json": "COCO JSON", ".csv": "boxes of a CSV", ".xml": "VOC XML", ".txt": "YOLO text", ".png": "PNG masks"}
