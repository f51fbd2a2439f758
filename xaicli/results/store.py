"""The store: score rows in one SQLite file, keyed by definition, subject and seed, one transaction a photo.

A run that was killed loses at most the photo in work; running again asks `missing` and does only that; two processes may write to
one file at once, and a row that is there already stays as it is.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.results import connection as opening
from xaicli.results import reading
from xaicli.results.missing import missing
from xaicli.results.reading import Photo, Scores, Selection
from xaicli.rows import KeptMap, Recipe, Row, Run

LARGEST_SIDE = 56
"""Of a map kept for a report: maps are coarse, and a few KiB a photo are worth keeping where 100 would not be."""
LARGEST_SEED = 2**63 - 1


class Store:
    """Score rows, what they were made from, and how. Use as a context manager, or call `close`."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None = None, *, curves: bool = True, maps: bool = True
    ) -> None:
        self.path = path
        self.keeps_curves = curves
        self.keeps_maps = maps
        self._connection = connection
        self._ids: dict[tuple[Any, ...], int] = {}

    @classmethod
    def open(cls, path: str | Path, *, write: bool = True, curves: bool = True, maps: bool = True) -> Self:
        """The store at `path`, made where there is none. `write=False` reads and leaves the file as it is.

        curves, maps: whether `add` keeps them. Raises InputError where the file is no store, of a newer schema, locked, or cannot
        be written to.
        """
        path = Path(path)
        return cls(opening.connect(path, write=write), path, curves=curves, maps=maps)

    @classmethod
    def in_memory(cls) -> Self:
        """A store that no file keeps, for scores that go to stdout alone."""
        return cls(opening.in_memory())

    def close(self) -> None:
        opening.close(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Writing

    def add(self, rows: Iterable[Row], recipes: Iterable[Recipe], *, maps: Iterable[KeptMap] = (), run: Run | None = None) -> int:
        """Keep the rows of one photo, all or none; returns how many were new. A row whose key is there already stays as it is.

        recipes: those of the rows, known ones included. Raises InputError where the disk is full or the file stays locked.
        """
        fresh = 0
        with opening.plain_faults(self.name):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for recipe in recipes:
                    self._recipe(recipe)
                run_id = None if run is None else self._run(run)
                for row in rows:
                    fresh += self._row(row, run_id)
                for kept in maps if self.keeps_maps else ():
                    self._map(kept)
                self._connection.execute("COMMIT")
            except BaseException:
                self._ids.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return fresh

    def _id(self, table: str, /, **unique: Any) -> int | None:
        """The id of the record of `table` with these values, from memory where it was asked for before."""
        key = (table, *unique.values())
        if key not in self._ids:
            where = " AND ".join(f"{name} = ?" for name in unique)
            found = self._connection.execute(f"SELECT id FROM {table} WHERE {where}", tuple(unique.values())).fetchone()
            if found is None:
                return None
            if len(self._ids) > 100_000:
                self._ids.clear()
            self._ids[key] = int(found[0])
        return self._ids[key]

    def _keep(self, table: str, unique: dict[str, Any], further: dict[str, Any] | None = None) -> int:
        """The id of a record, which is written where it is new."""
        known = self._id(table, **unique)
        if known is not None:
            return known
        values = {**unique, **(further or {})}
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        written = self._id(table, **unique)
        assert written is not None
        return written

    def _recipe(self, recipe: Recipe) -> int:
        if ("recipes", recipe.definition) in self._ids:
            return self._ids["recipes", recipe.definition]
        further = dataclasses.asdict(recipe) | {
            "method_definition": recipe.method_definition,
            "method_content": compact(recipe.method_content),
            "metric_content": compact(recipe.metric_content),
            "ratios": compact(recipe.ratios),
        }
        return self._keep("recipes", {"definition": recipe.definition}, further)

    def _run(self, run: Run) -> int:
        model = {"fingerprint": run.fingerprint}
        self._keep("models", model, {"name": run.model})
        self._connection.execute("UPDATE models SET name = ? WHERE fingerprint = ? AND name = ''", (run.model, run.fingerprint))
        return self._keep("runs", {"content": compact(dataclasses.asdict(run))})

    def _row(self, row: Row, run: int | None) -> bool:
        recipe = self._id("recipes", definition=row.definition)
        if recipe is None:
            raise ValueError(f"a row of {row.method} and {row.metric} whose recipe is not given")
        if not 0 <= row.seed <= LARGEST_SEED:
            raise ValueError(f"seed {row.seed} is not in 0 to 2**63 - 1")
        photo = self._keep("photos", {"content": row.photo, "frame": row.frame})
        path = self._keep("paths", {"photo": photo, "path": row.image})
        model = self._keep("models", {"fingerprint": row.model}, {"name": ""})
        about = {"photo": photo, "model": model, "target": row.target, "target_name": row.target_name}
        subject = self._keep("subjects", {"subject": row.subject}, about)
        written = self._connection.execute(
            "INSERT INTO rows (subject, recipe, seed, path, run, value, status, readouts) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (subject, recipe, row.seed, path, run, row.value, row.status, compact(row.readouts) if row.readouts else None),
        )
        if written.rowcount and row.curve is not None and self.keeps_curves:
            grid = self._keep("grids", {"x": floats(row.curve.x)})
            self._connection.execute("INSERT INTO curves VALUES (?, ?, ?)", (written.lastrowid, grid, floats(row.curve.y)))
        return bool(written.rowcount)

    def _map(self, kept: KeptMap) -> None:
        subject = self._id("subjects", subject=kept.subject)
        if subject is None:
            raise ValueError(f"a map of {kept.method} whose subject has no row")
        values = np.asarray(kept.values, dtype=np.float32)
        if values.ndim != 2 or not values.size or not np.isfinite(values).all():
            return
        values = reduced(values)
        # Scaled to at most 1, so that float16 neither overflows nor underflows.
        peak = max(float(np.abs(values).max(initial=0.0)), float(np.finfo(np.float32).tiny))
        record = {
            "subject": subject,
            "method_definition": kept.method_definition,
            "seed": kept.seed,
            "method": kept.method,
            "height": values.shape[0],
            "width": values.shape[1],
            "map": (values / peak).astype("<f2").tobytes(),
            "peak": peak,
            **dict(zip(("x0", "y0", "x1", "y1"), kept.box, strict=True)),
            "signed": kept.signed,
        }
        marks = ", ".join("?" * len(record))
        insert = f"INSERT INTO maps ({', '.join(record)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        self._connection.execute(insert, tuple(record.values()))

    # Reading

    @property
    def name(self) -> str:
        return str(self.path or "the store in memory")

    def missing(
        self,
        photos: Sequence[tuple[str, int]],
        recipes: Sequence[Recipe],
        *,
        model: str,
        seed: int,
        targets: Sequence[str | None] | None = None,
    ) -> NDArray[np.bool_]:
        """What is still to be done: (photos, recipes), True where no row is there.

        photos: (content hash, frame); model: the fingerprint; targets: the resolved target of each photo where it is known before
        the model ran (a class, a contrast), None for a rule that reads it off the logits.
        """
        known = [None] * len(photos) if targets is None else targets
        wanted = [(*photo, target) for photo, target in zip(photos, known, strict=True)]
        with self._reading():
            return missing(self._connection, wanted, [recipe.definition for recipe in recipes], model, seed)

    def rows(self, selection: Selection | None = None, *, curves: bool = False) -> Iterator[Row]:
        """The rows selected, photo by photo in the order they were first written; `curves` reads these too."""
        with self._reading():
            yield from reading.rows(self._connection, selection or Selection(), curves=curves)

    def scores(self, selection: Selection | None = None, *, readouts: bool = False) -> Scores:
        """The selected rows' values as arrays, for statistics over many; `readouts` reads these too."""
        with self._reading():
            return reading.scores(self._connection, selection or Selection(), readouts=readouts)

    def readout_names(self, selection: Selection | None = None) -> list[str]:
        """The names of all read-outs among the selected rows, sorted."""
        with self._reading():
            return reading.readout_names(self._connection, selection or Selection())

    def recipes(self) -> list[Recipe]:
        """How the numbers in the store are made, in the order first written."""
        with self._reading():
            return list(reading.recipes(self._connection).values())

    def photos(self) -> list[Photo]:
        """The photos of the store by content, with every path they were given under."""
        with self._reading():
            return reading.photos(self._connection)

    def models(self) -> dict[str, str]:
        """Models by fingerprint: their specification as given."""
        with self._reading():
            return reading.models(self._connection)

    def runs(self) -> list[Run]:
        """The circumstances that rows were made in."""
        with self._reading():
            return reading.runs(self._connection)

    def raw_curves(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        """Curves as kept, for sums over many: definition, model's fingerprint, places, values (little-endian float32)."""
        with self._reading():
            yield from reading.raw_curves(self._connection)

    def maps(self, selection: Selection | None = None) -> Iterator[KeptMap]:
        """Maps kept beside the scores, (h, w) float32 as they come back from float16, at most LARGEST_SIDE a side."""
        with self._reading():
            yield from reading.maps(self._connection, selection or Selection())

    def _reading(self) -> AbstractContextManager[None]:
        return reading.plain_damage(self.name)


def reduced(values: NDArray[np.float32], most: int = LARGEST_SIDE) -> NDArray[np.float32]:
    """A map of at most `most` values a side, each a mean: what is kept here is for drawing; scores are of the whole map."""
    height, width = (min(side, most) for side in values.shape)
    if (height, width) == values.shape:
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))


def compact(content: Any) -> str:
    """Canonical JSON: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=dict)


def floats(values: Sequence[float]) -> bytes:
    return np.asarray(values, dtype="<f4").tobytes()
