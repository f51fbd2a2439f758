"""The store: score rows in one SQLite file, keyed by definition, subject and seed, one transaction per photo.

A run that was killed loses at most the current photo; running again asks `missing` and does only that. Two processes may write to
one file at once; an existing row is never changed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from xaicli.files import make_folder, refuse_url, require_name, require_writable
from xaicli.packages import require
from xaicli.results import checksums, reading, schema
from xaicli.results import connection as opening
from xaicli.results.missing import missing
from xaicli.results.reading import Selection, StoredPhoto, StoredScores
from xaicli.results.writing import Writer
from xaicli.rows import KeptMap, Recipe, Row, Run
from xaicli.untrusted import is_folder, is_there

ROW_FILES = "rows-*.parquet"
"""The files of a folder that holds rows in place of a store's file."""


def holds_row_files(path: Path) -> bool:
    return is_folder(path) and any(path.glob(ROW_FILES))


class Store:
    """Score rows, and how and from what they were made. Use it as a context manager, or call `close`."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None = None, *, curves: bool = True, maps: bool = True
    ) -> None:
        self.path = path
        self.keeps_maps = maps
        self._connection = connection
        self._writer = Writer(connection, curves=curves)
        self._late = self._writes = False
        # What was found intact; a store that no file keeps cannot be damaged.
        self._intact: frozenset[str] = frozenset() if path else frozenset(checksums.TABLES)

    @classmethod
    def open(cls, path: str | Path, *, write: bool = True, curves: bool = True, maps: bool = True, late: bool = False) -> Self:
        """Open the store at `path`, or create it. `write=False` only reads and does not change the file; `path` may then be a
        folder of Parquet files (`xai score --sink`).

        curves, maps: whether `add` keeps them; late: a file that is not there, and its folder, are only made when rows are added.
        Raises InputError if the file is not a store, has a newer schema, is locked, or cannot be written to, UsageError for a
        URL that would be written to.
        """
        path = Path(path)
        if write:
            refuse_url(path)
            require_name(path, "-journal")
        if late and not is_there(path):
            require_writable(path.parent)
            store = cls(opening.in_memory(), path, curves=curves, maps=maps)
            store._late = True
            return store
        if not write and holds_row_files(path):
            require("pyarrow", "parquet")
            from xaicli.results.parquet_folder import filled

            return filled(path)  # type: ignore[return-value]  # of this class
        store = cls(opening.connect(path, write=write), path, curves=curves, maps=maps)
        store._writes = write
        return store

    @property
    def is_made(self) -> bool:
        """Whether its file is there; see `late`."""
        return self.path is not None and not self._late

    def _make(self) -> None:
        """Make the file of a store that was opened late, or open the one that another process has made by now."""
        assert self.path is not None
        make_folder(self.path.parent)
        connection = opening.connect(self.path, write=True)
        self._connection.close()
        self._connection, self._late, self._writes = connection, False, True
        self._writer = Writer(connection, curves=self._writer.keeps_curves)

    @classmethod
    def in_memory(cls) -> Self:
        """A store in memory, for scores that go to stdout alone."""
        return cls(opening.in_memory())

    @classmethod
    def temporary(cls) -> Self:
        """A store for this process alone, which need not fit into memory."""
        return cls(opening.temporary())

    def close(self) -> None:
        opening.close(self._connection, self.path if self._writes else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Writing

    def add(self, rows: Iterable[Row], recipes: Iterable[Recipe], *, maps: Iterable[KeptMap] = (), run: Run | None = None) -> int:
        """Write the rows of one photo, all or none; returns how many were new. A row whose key exists is not changed.

        recipes: of all these rows. Raises InputError if the disk is full or the file stays locked.
        """
        fresh = 0
        if self._late:
            self._make()
        with opening.plain_faults(self.name):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                before = checksums.last_ids(self._connection)
                for recipe in recipes:
                    self._writer.recipe(recipe)
                run_id = None if run is None else self._writer.run(run)
                for row in rows:
                    fresh += self._writer.row(row, run_id)
                for kept in maps if self.keeps_maps else ():
                    self._writer.map(kept)
                checksums.write(self._connection, before)
                self._connection.execute("COMMIT")
            except BaseException:
                self._writer.forget()
                schema.roll_back(self._connection)
                raise
        self._writer.forget_photo()
        return fresh

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
        partners: Sequence[str | None] | None = None,
    ) -> NDArray[np.bool_]:
        """Which rows are missing: (photos, recipes), True for a missing row.

        photos: (content hash, frame); model: the fingerprint; targets: the resolved target of each photo if it is known before
        the model has run (a class, a contrast), None for a rule that needs the logits; partners: for each photo, the content hash
        of the photo whose map is its control `other`; a row of a more distant partner does not count.
        """
        if self._late and self.path is not None and is_there(self.path):
            self._make()
        nothing = [None] * len(photos)
        known = zip(photos, targets or nothing, partners or nothing, strict=True)
        wanted = [(*photo, target, partner) for photo, target, partner in known]
        # What is damaged is seen when the scores are read.
        with reading.plain_damage(self.name):
            return missing(self._connection, wanted, recipes, model, seed)

    def rows(self, selection: Selection | None = None, *, curves: bool = False, nearest: bool = False) -> Iterator[Row]:
        """The selected rows, photo by photo in the order in which they were first written; `curves` reads the curves too.

        nearest: of a photo's rows of the control `other`, only the one of the nearest partner.
        """
        with self._reading(*checksums.CURVES if curves else ()):
            yield from reading.rows(self._connection, selection or Selection(), curves=curves, nearest=nearest)

    def scores(self, selection: Selection | None = None, *, readouts: bool = False) -> StoredScores:
        """The values of the selected rows as arrays, for statistics; `readouts` reads the read-outs too.

        Of a photo's rows of the control `other`, only the one of the nearest partner.
        """
        with self._reading():
            return reading.scores(self._connection, selection or Selection(), readouts=readouts)

    def readout_names(self, selection: Selection | None = None) -> list[str]:
        """The names of all read-outs among the selected rows, sorted."""
        with self._reading():
            return reading.readout_names(self._connection, selection or Selection())

    def recipes(self) -> list[Recipe]:
        """The recipes of the numbers in the store, in the order in which they were first written."""
        with self._reading():
            return list(reading.recipes(self._connection).values())

    def photos(self) -> list[StoredPhoto]:
        """The photos of the store by content, with every path under which they were given."""
        with self._reading():
            return reading.photos(self._connection)

    def models(self) -> dict[str, str]:
        """The models' specifications by fingerprint."""
        with self._reading():
            return reading.models(self._connection)

    def runs(self) -> list[Run]:
        """The settings of the runs that made the rows."""
        with self._reading():
            return reading.runs(self._connection)

    def keys_of_runs(self, wanted: Callable[[Run], bool]) -> set[tuple[str, str, int]]:
        """Definition, subject and seed of the rows that some runs made."""
        with self._reading():
            return reading.keys_of_runs(self._connection, wanted)

    def raw_curves(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        """Curves as stored, for sums over many: definition, model's fingerprint, x, values (little-endian float32)."""
        with self._reading(*checksums.CURVES):
            yield from reading.raw_curves(self._connection)

    def maps(self, selection: Selection | None = None) -> Iterator[KeptMap]:
        """Maps stored beside the scores, (h, w) float32 converted from float16, at most LARGEST_SIDE per side."""
        with self._reading(*checksums.MAPS):
            yield from reading.maps(self._connection, selection or Selection())

    @contextlib.contextmanager
    def _reading(self, *further: str) -> Iterator[None]:
        """Read the scores, and further tables, which are looked through for damage the first time; raises InputError."""
        with reading.plain_damage(self.name):
            wanted = {*checksums.SCORES, *further} - self._intact
            if wanted:
                with opening.snapshot(self._connection):
                    checksums.require_intact(self._connection, wanted)
                self._intact |= wanted
            yield
