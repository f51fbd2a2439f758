"""Score rows as an Arrow table: what workers of a cluster send, and what lies in the Parquet files of `--sink`.

One record is one row of scores; the small map of a method stands in the first row of its target. A photo that could not be
scored is one record with an `error`, one that was complete a record without a `metric`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as arrow

from xaicli.errors import InputError, RunError, UsageError, XaiError
from xaicli.results.writing import compact, floats, reduced
from xaicli.rows import Curve, KeptMap, Recipe, Row
from xaicli.writable_text import json_text

MAP = arrow.struct(
    [
        *((name, arrow.int32()) for name in ("height", "width", "region_height", "region_width")),
        ("values", arrow.binary()),
        ("region", arrow.binary()),
        ("box", arrow.list_(arrow.float64(), 4)),
        ("signed", arrow.bool_()),
    ]
)
TEXTS = ("image", "photo", "method", "target", "target_name", "metric", "status", "definition", "subject", "model", "readouts")
SCHEMA = arrow.schema(
    [
        *((name, arrow.string()) for name in TEXTS),
        ("value", arrow.float64()),
        ("seed", arrow.int64()),
        ("frame", arrow.int32()),
        ("control", arrow.bool_()),
        ("curve_x", arrow.binary()),
        ("curve_y", arrow.binary()),
        ("map", MAP),
        ("error", arrow.string()),
        ("alone", arrow.bool_()),
        ("written", arrow.int32()),
    ]
)
ERRORS: dict[str, type[XaiError]] = {kind.__name__: kind for kind in (UsageError, InputError, RunError)}


@dataclass(frozen=True)
class PhotoRows:
    """What became of one photo: its new rows and maps, or its error.

    image: its path as given; photo, frame: its content and frame; alone: as in `NewScores`; written: how many rows lie in a file
    of Parquet already.
    """

    image: str
    photo: str
    frame: int
    rows: Sequence[Row] = ()
    maps: Sequence[KeptMap] = ()
    error: XaiError | None = None
    alone: bool = False
    written: int = 0


@dataclass(frozen=True)
class Records:
    """Records of photos in the making."""

    made: list[dict[str, Any]] = field(default_factory=list)

    def add(self, photo: PhotoRows, recipes: Iterable[Recipe]) -> None:
        """Add what became of a photo; recipes: of its rows."""
        about = {"image": photo.image, "photo": photo.photo, "frame": photo.frame, "alone": photo.alone, "written": photo.written}
        if photo.error is not None:
            self.made.append(about | {"error": spelled(photo.error)})
            return
        if not photo.rows:
            self.made.append(about)
        definitions = {recipe.definition: recipe.method_definition for recipe in recipes}
        maps = {(kept.subject, kept.method_definition): kept for kept in photo.maps}
        for row in photo.rows:
            kept = maps.pop((row.subject, definitions[row.definition]), None)
            self.made.append(record_of(row) | {"alone": photo.alone, "map": None if kept is None else record_of_map(kept)})

    def table(self) -> arrow.Table:
        return arrow.Table.from_pylist(self.made, schema=SCHEMA)


def record_of(row: Row) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in (*TEXTS[:-1], "value", "seed", "frame", "control")}
    found["readouts"] = compact(row.readouts) if row.readouts else None
    if row.curve is not None:
        found |= {"curve_x": floats(row.curve.x), "curve_y": floats(row.curve.y)}
    return found


def record_of_map(kept: KeptMap) -> dict[str, Any] | None:
    """A map at the size at which a store keeps it; None for one that it does not keep."""
    values = np.asarray(kept.values, dtype=np.float32)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        return None
    values = reduced(values)
    region = np.zeros((0, 0), dtype=bool) if kept.region is None else np.asarray(kept.region, dtype=bool)
    return {
        "height": values.shape[0],
        "width": values.shape[1],
        "values": values.astype("<f4").tobytes(),
        "region_height": region.shape[0],
        "region_width": region.shape[1],
        "region": np.packbits(region).tobytes(),
        "box": [float(end) for end in kept.box],
        "signed": kept.signed,
    }


def photos_in(table: arrow.Table, recipes: Iterable[Recipe]) -> Iterator[PhotoRows]:
    """What became of each photo of a table; raises InputError where a record is none of ours."""
    named = {recipe.definition: recipe for recipe in recipes}
    records = table.to_pylist()
    for (photo, frame, image), own in groupby(records, key=lambda record: (record["photo"], record["frame"], record["image"])):
        rows: list[Row] = []
        maps: list[KeptMap] = []
        error, alone, written = None, False, 0
        for record in own:
            alone = alone or bool(record["alone"])
            written += record["written"] or 0
            if record["error"] is not None:
                error = read_error(record["error"])
            elif record["metric"] is not None:
                rows.append(read_row(record))
                if record["map"] is not None:
                    maps.append(read_map(record["map"], rows[-1], named))
        yield PhotoRows(image, photo, frame, rows, maps, error, alone, written)


def read_row(record: dict[str, Any]) -> Row:
    x, y = record["curve_x"], record["curve_y"]
    known = {name: record[name] for name in (*TEXTS[:-1], "value", "seed", "frame", "control")}
    if any(value is None for name, value in known.items() if name != "value"):
        raise InputError("a row without one of its columns", expected="rows as xai writes them")
    readouts = json.loads(record["readouts"]) if record["readouts"] else {}
    curve = (
        None
        if x is None or y is None
        else Curve(tuple(np.frombuffer(x, "<f4").tolist()), tuple(np.frombuffer(y, "<f4").tolist()))
    )
    return Row(**known, readouts=readouts, curve=curve)


def numbers(content: bytes) -> tuple[float, ...]:
    return tuple(np.frombuffer(content, "<f4").tolist())


def read_map(record: dict[str, Any], row: Row, recipes: dict[str, Recipe]) -> KeptMap:
    values = np.frombuffer(record["values"], "<f4").reshape(record["height"], record["width"])
    shape = record["region_height"], record["region_width"]
    bits = np.unpackbits(np.frombuffer(record["region"], np.uint8), count=math.prod(shape)).astype(bool).reshape(shape)
    return KeptMap(
        subject=row.subject,
        method_definition=recipes[row.definition].method_definition,
        method=row.method,
        seed=row.seed,
        values=values,
        box=tuple(record["box"]),
        signed=record["signed"],
        region=bits if bits.size else None,
    )


def spelled(error: XaiError) -> str:
    """An error as text that `read_error` reads back."""
    kind = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), "RunError")
    parts = {"kind": kind, "found": error.found, "expected": error.expected, "hint": error.hint}
    return json_text(parts, None)


def read_error(text: str) -> XaiError:
    parts = json.loads(text)
    return ERRORS[parts["kind"]](parts["found"], expected=parts["expected"], hint=parts["hint"])
