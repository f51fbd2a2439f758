"""Reading a store: rows, arrays of scores, photos, recipes, maps.

A store may come from anywhere: unexpected contents raise InputError and never crash.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import InputError, RunError, fault_in_content
from xaicli.metric import ValueKind
from xaicli.results.connection import listed, plain_faults, snapshot
from xaicli.results.partners import superseded
from xaicli.rows import OK, Curve, KeptMap, Recipe, Row, Run

DIRECTIONS = ("higher", "lower", "neither")
KINDS = tuple(kind.value for kind in ValueKind)
LARGEST_MAP = 4_000_000
"""Maximum values in a kept map; a larger one means damage."""


@dataclass(frozen=True)
class Selection:
    """Which rows are read: labels of methods and metrics (empty: all), whether controls are included, which photos by
    (content, frame) and which definitions by stamp (None: all)."""

    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    controls: bool = True
    photos: frozenset[tuple[str, int]] | None = None
    definitions: frozenset[str] | None = None

    def includes(self, content: str, frame: int) -> bool:
        return self.photos is None or (content, frame) in self.photos

    def takes(self, recipe: Recipe) -> bool:
        return (
            (not self.methods or recipe.method in self.methods)
            and (not self.metrics or recipe.metric in self.metrics)
            and (self.controls or not recipe.control)
            and (self.definitions is None or recipe.definition in self.definitions)
        )


@dataclass(frozen=True)
class StoredPhoto:
    """A photo by content, and the paths under which it was given, in that order."""

    content: str
    frame: int
    paths: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StoredScores:
    """N rows as arrays.

    photo, recipe, model, status: (N,) indices into `photos`, `recipes`, `models`, `statuses`; value: (N,), NaN if missing;
    readouts: by name (N,), NaN if missing.
    """

    photo: NDArray[np.int64]
    recipe: NDArray[np.int64]
    model: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.int64]
    photos: list[StoredPhoto]
    recipes: list[Recipe]
    models: list[tuple[str, str]]
    statuses: list[str]
    readouts: dict[str, NDArray[np.float64]]


@contextlib.contextmanager
def plain_damage(name: str) -> Iterator[None]:
    """Turn SQLite's errors, and contents that do not belong in a store, into one InputError."""
    with plain_faults(name):
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, RunError) as error:
            found = f"{name} is damaged ({fault_in_content(error)})"
            raise InputError(found, expected="a store as xai writes it") from error


def recipes(connection: sqlite3.Connection) -> dict[int, Recipe]:
    names = "method, metric, method_content, metric_content, target_rule, precision, direction, control, passes, unit, ratios, "
    names += "kind, lowest, highest, of_map_alone"
    result = {}
    for key, *given in connection.execute(f"SELECT id, {names} FROM recipes ORDER BY id"):
        about = dict(zip(names.split(", "), given, strict=True))
        for name in ("method_content", "metric_content", "ratios"):
            about[name] = dict(json.loads(about[name]))
        texts(*(about[name] for name in ("method", "metric", "target_rule", "precision", "passes", "unit")))
        if about["direction"] not in DIRECTIONS:
            raise ValueError(f"a direction {about['direction']}")
        if about["kind"] not in KINDS or not float(about["lowest"]) <= float(about["highest"]):
            raise ValueError(f"values of kind {about['kind']!r:.40}, {about['lowest']!r:.40} to {about['highest']!r:.40}")
        for (first, less), (second, lesser) in about["ratios"].values():
            texts(first, less, second, lesser)
        result[key] = Recipe(**about | {name: bool(about[name]) for name in ("control", "of_map_alone")})
    return result


def texts(*values: object) -> None:
    """Raise ValueError unless all are text: SQLite lets a column hold anything."""
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.40} in the place of a text")


def chosen(connection: sqlite3.Connection, selection: Selection) -> dict[int, Recipe]:
    return {key: recipe for key, recipe in recipes(connection).items() if selection.takes(recipe)}


def photos(connection: sqlite3.Connection) -> list[StoredPhoto]:
    found = connection.execute(
        "SELECT h.id, h.content, h.frame, p.path FROM photos h JOIN paths p ON p.photo = h.id ORDER BY h.id, p.id"
    )
    grouped = itertools.groupby(found, key=lambda entry: entry[:3])
    result = [StoredPhoto(content, int(frame), tuple(entry[3] for entry in entries)) for (_, content, frame), entries in grouped]
    for photo in result:
        texts(photo.content, *photo.paths)
    return result


def models(connection: sqlite3.Connection) -> dict[str, str]:
    found = dict(connection.execute("SELECT fingerprint, name FROM models ORDER BY id"))
    texts(*found.keys(), *found.values())
    return found


def runs(connection: sqlite3.Connection) -> list[Run]:
    found = [Run(**json.loads(content)) for (content,) in connection.execute("SELECT content FROM runs ORDER BY id")]
    for run in found:
        texts(run.model, run.fingerprint, run.device, run.command, *dict(run.layers), *dict(run.versions))
    return found


def keys_of_runs(connection: sqlite3.Connection, wanted: Callable[[Run], bool]) -> set[tuple[str, str, int]]:
    """Definition, subject and seed of the rows that some runs made."""
    found = connection.execute("SELECT id, content FROM runs")
    made = [key for key, content in found if wanted(Run(**json.loads(content)))]
    return set(
        connection.execute(
            "SELECT c.definition, s.subject, r.seed FROM rows r JOIN subjects s ON s.id = r.subject "
            f"JOIN recipes c ON c.id = r.recipe WHERE r.run IN ({listed(made)})"
        )
    )


def rows(connection: sqlite3.Connection, selection: Selection, *, curves: bool, nearest: bool) -> Iterator[Row]:
    """Rows in an order that does not depend on who wrote when: image, frame, method, target, metric, seed."""
    known = chosen(connection, selection)
    rest = superseded(connection, known) if nearest else []
    grids = dict(connection.execute("SELECT id, x FROM grids")) if curves else {}
    curve, join = ("k.grid, k.y", "LEFT JOIN curves k ON k.row = r.id") if curves else ("NULL, NULL", "")
    found = connection.execute(
        "SELECT r.recipe, r.seed, r.value, r.status, r.readouts, p.path, h.content, h.frame, s.subject, s.target, s.target_name, "
        f"m.fingerprint, {curve} FROM rows r JOIN subjects s ON s.id = r.subject JOIN photos h ON h.id = s.photo "
        f"JOIN models m ON m.id = s.model JOIN recipes c ON c.id = r.recipe JOIN paths p ON p.id = r.path {join} "
        f"WHERE r.recipe IN ({listed(known)}) AND r.id NOT IN ({listed(rest)}) "
        "ORDER BY p.path, h.frame, c.method, s.target, c.metric, r.seed, c.definition, s.subject"
    )
    definitions = {key: recipe.definition for key, recipe in known.items()}
    for recipe, seed, value, status, readouts, path, content, frame, subject, target, name, model, grid, heights in found:
        if not selection.includes(content, frame):
            continue
        texts(path, content, subject, target, name, model, status)
        yield Row(
            image=path,
            photo=content,
            frame=frame,
            method=known[recipe].method,
            metric=known[recipe].metric,
            target=target,
            target_name=name,
            value=value,
            status=status,
            definition=definitions[recipe],
            subject=subject,
            seed=seed,
            model=model,
            readouts=json.loads(readouts) if readouts else {},
            curve=None if grid is None else Curve(numbers(grids[grid]), numbers(heights)),
            control=known[recipe].control,
        )


def raw_curves(connection: sqlite3.Connection) -> Iterator[tuple[str, str, bytes, bytes]]:
    """The curves as stored, those of one definition, model and grid together: definition, fingerprint, x, values (float32)."""
    rest = superseded(connection, recipes(connection))
    found = connection.execute(
        "SELECT c.definition, m.fingerprint, g.x, k.y FROM curves k JOIN rows r ON r.id = k.row JOIN grids g ON g.id = k.grid "
        "JOIN recipes c ON c.id = r.recipe JOIN subjects s ON s.id = r.subject JOIN models m ON m.id = s.model "
        f"WHERE r.id NOT IN ({listed(rest)}) ORDER BY c.id, m.id, g.id"
    )
    for definition, model, x, y in found:
        if len(x) != len(y) or len(x) % 4:
            raise ValueError(f"a curve of {len(x)} and {len(y)} bytes")
        yield definition, model, x, y


def numbers(blob: bytes) -> tuple[float, ...]:
    return tuple(np.frombuffer(blob, dtype="<f4").tolist())


def scores(connection: sqlite3.Connection, selection: Selection, *, readouts: bool = False) -> StoredScores:
    with snapshot(connection):
        known = chosen(connection, selection)
        photo_ids, model_ids = ids(connection, "photos"), ids(connection, "models")
        about = connection.execute("SELECT id, photo, model FROM subjects ORDER BY id")
        subjects = np.fromiter(about, dtype=[("id", "i8"), ("photo", "i8"), ("model", "i8")])
        # NULL (no value) is read as infinity, since an array of numbers cannot hold NULL.
        mine = f"recipe IN ({listed(known)}) AND id NOT IN ({listed(superseded(connection, known))})"
        found = connection.execute(f"SELECT subject, recipe, ifnull(value, 9e999) FROM rows WHERE {mine} ORDER BY id")
        read = np.fromiter(found, dtype=[("subject", "i8"), ("recipe", "i8"), ("value", "f8")])
        value = np.where(np.isfinite(read["value"]), read["value"], np.nan)
        status, statuses = read_statuses(connection, mine, value)
        subject = places(subjects["id"], read["subject"])
        photo, named = places(photo_ids, subjects["photo"][subject]), photos(connection)
        asked = np.asarray([selection.includes(one.content, one.frame) for one in named], dtype=np.bool_)[photo]
        further = read_readouts(connection, mine, len(value)) if readouts else {}
        return StoredScores(
            photo=photo[asked],
            recipe=places(np.asarray(list(known), dtype=np.int64), read["recipe"])[asked],
            model=places(model_ids, subjects["model"][subject])[asked],
            value=value[asked],
            status=status[asked],
            photos=named,
            recipes=list(known.values()),
            models=list(models(connection).items()),
            statuses=statuses,
            readouts={name: values[asked] for name, values in further.items()},
        )


def ids(connection: sqlite3.Connection, table: str) -> NDArray[np.int64]:
    return np.fromiter((key for (key,) in connection.execute(f"SELECT id FROM {table} ORDER BY id")), dtype=np.int64)


def read_statuses(connection: sqlite3.Connection, mine: str, value: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[str]]:
    """A status per row: 0 is `ok`; the few others, whose value is NaN, are read in the same order by a separate query.

    mine: SQL that selects the rows.
    """
    found = connection.execute(f"SELECT status FROM rows WHERE {mine} AND value IS NULL ORDER BY id").fetchall()
    statuses = list(dict.fromkeys([OK, *(word for (word,) in found)]))
    texts(*statuses)
    result = np.zeros(len(value), dtype=np.int64)
    result[np.isnan(value)] = [statuses.index(word) for (word,) in found]
    return result, statuses


def read_readouts(connection: sqlite3.Connection, mine: str, count: int) -> dict[str, NDArray[np.float64]]:
    """The read-outs of `count` rows by name, in the order of the rows; NaN if a row has none of that name."""
    found = connection.execute(f"SELECT readouts FROM rows WHERE {mine} ORDER BY id")
    result: dict[str, NDArray[np.float64]] = {}
    for at, (text,) in enumerate(found):
        for name, number in json.loads(text).items() if text else ():
            if name not in result:
                result[name] = np.full(count, np.nan)
            result[name][at] = float(number)
    return result


def readout_names(connection: sqlite3.Connection, selection: Selection) -> list[str]:
    """The names of the read-outs of the selected rows, sorted."""
    mine = f"r.recipe IN ({listed(chosen(connection, selection))})"
    found = connection.execute(f"SELECT DISTINCT e.key FROM rows r, json_each(r.readouts) e WHERE {mine} ORDER BY e.key")
    return [str(name) for (name,) in found]


def places(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of each of `wanted` in the sorted `ids`; raises KeyError if one is missing."""
    at = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    if len(wanted) and (not len(ids) or not (ids[at] == wanted).all()):
        raise KeyError("a reference leads nowhere")
    return at


def maps(connection: sqlite3.Connection, selection: Selection) -> Iterator[KeptMap]:
    wanted = {recipe.method_definition for recipe in chosen(connection, selection).values()}
    found = connection.execute(
        "SELECT s.subject, a.method_definition, a.method, a.seed, a.map, a.height, a.width, a.peak, a.x0, a.y0, a.x1, a.y1, "
        "a.region_height, a.region_width, a.region, a.signed, h.content, h.frame FROM maps a JOIN subjects s ON s.id = a.subject "
        "JOIN photos h ON h.id = s.photo "
        "ORDER BY a.id"
    )
    for subject, definition, method, seed, blob, height, width, peak, *box, rows, columns, bits, signed, content, frame in found:
        if definition in wanted and selection.includes(content, frame):
            if not 0 < height * width <= LARGEST_MAP:
                raise ValueError(f"a map of {height} x {width}")
            texts(subject, definition)
            if not all(isinstance(side, float) and abs(side) < LARGEST_MAP for side in box):
                raise ValueError(f"a map at {box!r:.40}")
            values = np.frombuffer(blob, dtype="<f2").reshape(height, width).astype(np.float32) * np.float32(peak)
            region = region_of(bits, rows, columns)
            yield KeptMap(subject, definition, method, seed, values, (box[0], box[1], box[2], box[3]), bool(signed), region)


def region_of(bits: bytes, height: int, width: int) -> NDArray[np.bool_] | None:
    """The region (h, w) of a kept map; None where it has none. Raises ValueError where it is no region."""
    if not bits:
        return None
    if not 0 < height * width <= LARGEST_MAP or len(bits) != -(-height * width // 8):
        raise ValueError(f"a region of {height} x {width}")
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=height * width).reshape(height, width).astype(np.bool_)
