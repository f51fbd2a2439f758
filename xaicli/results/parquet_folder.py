"""A folder of Parquet files that hold score rows, one file for each block of photos: `xai score --sink parquet:DIR`.

Workers write their own files, so that no driver's store limits them. A file is named after the rows in it and renamed into place,
so that a block that is done twice is there once. Each file carries the recipes of its rows and the settings of the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import parquet

from xaicli.claims import MARK
from xaicli.errors import InputError, XaiError, described
from xaicli.files import require_writable, write_atomic
from xaicli.results.row_table import SCHEMA, photos_in
from xaicli.results.store import ROW_FILES, Store
from xaicli.rows import PARTNER, Recipe, Run, partner_number, steps_on_the_ring
from xaicli.untrusted import is_file, is_folder

HEAD = b"xai"
VERSION = 1
WANTED = "a file of rows as xai score --sink writes it"
KEY = ("photo", "frame", "definition", "seed", "model", "target", "readouts")


@dataclasses.dataclass(frozen=True)
class ParquetFolder:
    """Score rows in a folder of Parquet files."""

    path: Path

    def require_writable(self) -> None:
        """Raise InputError if files cannot be written into the folder."""
        if is_file(self.path):
            raise InputError(f"{self.path} is a file", expected="a folder for Parquet files", hint="Choose another one.")
        try:
            require_writable(self.path)
        except InputError as error:
            raise InputError(error.found, expected=error.expected, hint="Choose one with --sink parquet:DIR.") from error

    @property
    def files(self) -> list[Path]:
        return sorted(self.path.glob(ROW_FILES)) if is_folder(self.path) else []

    @property
    def is_made(self) -> bool:
        """Whether it holds rows."""
        return bool(self.files)

    def count_rows(self) -> int:
        """Rows in all files, from their ends alone. Raises InputError."""
        rows = 0
        for file in self.files:
            with readable(file):
                rows += int(parquet.read_metadata(file).num_rows)
        return rows

    def write(self, table: arrow.Table, recipes: Sequence[Recipe], run: Run) -> Path:
        """Write rows of a block; the same rows have the same name. Raises InputError."""
        keys = zip(*(table.column(name).to_pylist() for name in ("definition", "subject", "seed")), strict=True)
        name = hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:24]
        path = self.path / ROW_FILES.replace("*", name)
        head = {
            "version": VERSION,
            "recipes": [dataclasses.asdict(recipe) for recipe in recipes],
            "run": dataclasses.asdict(run),
        }
        marked = table.replace_schema_metadata({HEAD: json.dumps(head).encode(), b"Software": MARK.encode()})

        def write(file: BinaryIO) -> None:
            parquet.write_table(marked, file, compression="zstd", write_page_checksum=True)

        write_atomic(path, write)
        return path

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
        """Which rows are missing, as `Store.missing` answers."""
        absent = np.ones((len(photos), len(recipes)), dtype=bool)
        places: dict[tuple[str, int], list[int]] = {}
        for at, photo in enumerate(photos):
            places.setdefault(photo, []).append(at)
        columns = {recipe.definition: column for column, recipe in enumerate(recipes)}
        for file in self.files:
            with readable(file):
                table = parquet.read_table(file, columns=list(KEY), page_checksum_verification=True)
            for photo, frame, definition, own_seed, own_model, target, readouts in rows_of(table):
                column = columns.get(definition)
                if column is None or (own_seed, own_model) != (seed, model):
                    continue
                for at in places.get((photo, frame), ()):
                    if targets is not None and targets[at] not in (None, target):
                        continue
                    partner = partners[at] if partners is not None and recipes[column].has_partner else None
                    if partner is None or is_near(photo, partner, readouts):
                        absent[at, column] = False
        return absent

    def fill(self, store: Store) -> None:
        """Write all rows into a store, one transaction for each file. Raises InputError for a file that is damaged or none of
        ours."""
        for file in self.files:
            with readable(file):
                table = parquet.read_table(file, page_checksum_verification=True)
                head = json.loads((table.schema.metadata or {})[HEAD])
                if head["version"] > VERSION:
                    raise InputError(f"{file} was written by a newer xaicli", expected=WANTED, hint="Upgrade xaicli.")
                recipes = [Recipe(**recipe) for recipe in head["recipes"]]
                photos = list(photos_in(table.select(SCHEMA.names).cast(SCHEMA), recipes))
                rows, maps = [row for photo in photos for row in photo.rows], [kept for photo in photos for kept in photo.maps]
                store.add(rows, recipes, maps=maps, run=Run(**head["run"]))


def rows_of(table: arrow.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in KEY), strict=True)


def is_near(photo: str, partner: str, readouts: str | None) -> bool:
    """Whether a row's partner is the wanted one or a nearer one."""
    number = json.loads(readouts or "{}").get(PARTNER)
    return number is None or steps_on_the_ring(photo, int(number)) <= steps_on_the_ring(photo, partner_number(partner))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one line."""
    try:
        yield
    except XaiError:
        raise
    # Arrow, JSON and our own records fail in many ways on bytes that are none of ours.
    except Exception as error:
        raise InputError(
            f"{file} cannot be read ({described(error)})", expected=WANTED, hint="Move it away, and score again."
        ) from error


def filled(path: Path) -> Store:
    """A store of the rows of a folder, for this process alone."""
    store = Store.temporary()
    try:
        ParquetFolder(path).fill(store)
    except BaseException:
        store.close()
        raise
    return store
