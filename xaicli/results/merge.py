"""Joining stores: the shards of one job, or of several."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from xaicli.errors import InputError, UsageError
from xaicli.files import cannot_write, held, make_folder, part_of, refuse_url
from xaicli.packages import require
from xaicli.results import checksums, schema
from xaicli.results import connection as opening
from xaicli.results.reading import plain_damage
from xaicli.results.store import Store, holds_row_files
from xaicli.untrusted import is_folder, is_there
from xaicli.words import count

TOLERANCE = 1e-5
"""Relative difference of two values under one key beyond which it is not rounding."""

JOIN = """
INSERT OR IGNORE INTO photos (content, frame) SELECT content, frame FROM other.photos ORDER BY id;
INSERT OR IGNORE INTO paths (photo, path)
    SELECT h.id, p.path FROM other.paths p
    JOIN other.photos o ON o.id = p.photo JOIN photos h USING (content, frame) ORDER BY p.id;
INSERT INTO models (fingerprint, name) SELECT fingerprint, name FROM other.models WHERE true ORDER BY id
    ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name WHERE models.name = '';
INSERT OR IGNORE INTO recipes ({recipe}) SELECT {recipe} FROM other.recipes ORDER BY id;
INSERT OR IGNORE INTO subjects (subject, photo, model, target, target_name)
    SELECT s.subject, h.id, m.id, s.target, s.target_name FROM other.subjects s
    JOIN other.photos o ON o.id = s.photo JOIN photos h USING (content, frame)
    JOIN other.models n ON n.id = s.model JOIN models m USING (fingerprint) ORDER BY s.id;
INSERT OR IGNORE INTO runs (content) SELECT content FROM other.runs ORDER BY id;
INSERT OR IGNORE INTO grids (x) SELECT x FROM other.grids ORDER BY id;
CREATE TEMP TABLE mine AS
    SELECT r.id AS theirs, s.id AS subject, c.id AS recipe, r.seed, p.id AS path, u.id AS run, r.value, r.status, r.readouts
    FROM other.rows r
    JOIN other.subjects t ON t.id = r.subject JOIN subjects s ON s.subject = t.subject
    JOIN other.recipes d ON d.id = r.recipe JOIN recipes c ON c.definition = d.definition
    JOIN other.paths q ON q.id = r.path JOIN other.photos o ON o.id = q.photo JOIN photos h USING (content, frame)
    JOIN paths p ON p.photo = h.id AND p.path = q.path
    LEFT JOIN other.runs v ON v.id = r.run LEFT JOIN runs u ON u.content = v.content
    ORDER BY r.id
"""
KEEP = """
INSERT OR IGNORE INTO rows (subject, recipe, seed, path, run, value, status, readouts)
    SELECT subject, recipe, seed, path, run, value, status, readouts FROM mine ORDER BY theirs;
INSERT OR IGNORE INTO curves (row, grid, y)
    SELECT r.id, g.id, k.y FROM other.curves k JOIN mine m ON m.theirs = k.row
    JOIN rows r ON r.subject = m.subject AND r.recipe = m.recipe AND r.seed = m.seed
    JOIN other.grids o ON o.id = k.grid JOIN grids g ON g.x = o.x;
INSERT OR IGNORE INTO maps (subject, {map}) SELECT s.id, {map} FROM other.maps a
    JOIN other.subjects t ON t.id = a.subject JOIN subjects s ON s.subject = t.subject ORDER BY a.id;
DROP TABLE mine
"""
CONFLICTS = """
SELECT c.method, c.metric, p.path, r.value, r.status, m.value, m.status FROM mine m
JOIN rows r ON r.subject = m.subject AND r.recipe = m.recipe AND r.seed = m.seed
JOIN recipes c ON c.id = m.recipe JOIN paths p ON p.id = m.path
WHERE r.status != m.status OR abs(r.value - m.value) > ? * max(1.0, abs(r.value))
ORDER BY p.path, c.method, c.metric
"""
NAMED = 3


def merge(sources: Sequence[str | Path], into: str | Path, *, overwrite: bool = False) -> int:
    """Join stores into a new one at `into`, whole or not at all; returns its number of rows.

    A row that several stores hold under one key (definition, subject, seed) is kept once. Raises InputError if two stores hold
    different values for it, if a file is not a store, or if `into` is a folder; UsageError if it exists, except with `overwrite`.
    """
    into, paths = Path(into), [Path(source) for source in sources]
    if not paths:
        raise UsageError("no store to merge", expected="xai merge A.db B.db -o ALL.db")
    refuse_url(into)
    if is_folder(into):
        raise opening.no_file(into, write=True)
    if is_there(into) and not overwrite:
        among = any(path.resolve() == into.resolve() for path in paths)
        hint = (
            "Add --overwrite; its rows are kept."
            if among
            else "Write another and name this one among the stores, or add --overwrite."
        )
        raise UsageError(f"{into} exists already", expected="a new name", hint=hint)
    with temporary_beside(into) as temporary:
        joined = opening.connect(temporary, write=True)
        try:
            with opening.plain_faults(into):
                for path in paths:
                    add(joined, path)
                checksums.write_all(joined)
                count = int(joined.execute("SELECT count(*) FROM rows").fetchone()[0])
        finally:
            opening.close(joined)
        settle_old(into)
        try:
            os.replace(temporary, into)
        except OSError as error:
            raise cannot_write(into, error) from error
    return count


def settle_old(path: Path) -> None:
    """Close the journal of the store that is replaced, since SQLite would read a leftover journal as part of the new store."""
    if not is_there(path):
        return
    opening.close(opening.connect(path, write=True), path)
    if is_there(path.with_name(f"{path.name}-wal")):
        raise InputError(f"{path} is in use", expected="no other process that writes to it", hint="Choose another name with -o.")


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` for the new store; leftovers under that name are deleted."""
    make_folder(path.parent)
    temporary = part_of(path)
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(temporary))
            except (OSError, ValueError) as error:
                raise cannot_write(path, error) from error
            yield temporary
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def add(joined: sqlite3.Connection, path: Path) -> None:
    """Add the contents of the store at `path` to `joined`; on an InputError nothing is added."""
    with readable_file(path) as file, opening.plain_faults(path):
        joined.execute("ATTACH DATABASE ? AS other", (f"file:{quote(os.fsencode(file.absolute()))}?mode=ro",))
        try:
            joined.execute("BEGIN IMMEDIATE")
            run(joined, JOIN)
            refuse_conflicts(joined, path)
            run(joined, KEEP)
            joined.execute("COMMIT")
        finally:
            schema.roll_back(joined)
            with contextlib.suppress(sqlite3.Error):
                joined.execute("DETACH DATABASE other")


def run(joined: sqlite3.Connection, statements: str) -> None:
    columns = {table: ", ".join(columns_of(joined, table)) for table in ("recipes", "maps")}
    for statement in statements.split(";\n"):
        joined.execute(statement.format(recipe=columns["recipes"], map=columns["maps"]))


def columns_of(joined: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table that mean the same in every store."""
    found = joined.execute(f"PRAGMA main.table_info({table})")
    return [name for _, name, *_ in found if name not in ("id", "subject")]


@contextlib.contextmanager
def readable_file(path: Path) -> Iterator[Path]:
    """The store's file, an upgraded copy of it if its schema is older, or a store of the rows of a folder."""
    if holds_row_files(path):
        with tempfile.TemporaryDirectory(prefix="xai-") as folder:
            yield filled_file(path, Path(folder) / "rows.db")
        return
    checked = opening.connect(path, write=False)
    try:
        with plain_damage(str(path)):
            checksums.require_intact(checked)
        if checked.execute("SELECT length(file) FROM pragma_database_list WHERE name = 'main'").fetchone()[0]:
            yield path
            return
        with temporary_beside(path) as copy:
            target = sqlite3.connect(copy)
            checked.backup(target)
            target.close()
            yield copy
    finally:
        opening.close(checked)


def filled_file(path: Path, copy: Path) -> Path:
    """A store's file with the rows of a folder of Parquet files."""
    require("pyarrow", "parquet")
    from xaicli.results.parquet_folder import ParquetFolder

    with Store.open(copy) as rows:
        ParquetFolder(path).fill(rows)
    return copy


def refuse_conflicts(joined: sqlite3.Connection, path: Path) -> None:
    found = joined.execute(CONFLICTS, (TOLERANCE,)).fetchall()
    if not found:
        return
    told = [
        f"{metric} of {method} on {image} is {shown(here, status)} and {shown(there, other)}"
        for method, metric, image, here, status, there, other in found[:NAMED]
    ]
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    raise InputError(
        f"{path} disagrees with a store before it on {count(len(found), 'row')} of one key: {'; '.join(told)}{more}",
        expected=f"one value for one definition, subject and seed, to {TOLERANCE:g}",
        hint="Find out which run was wrong, and merge without it.",
    )


def shown(value: float | None, status: str) -> str:
    return status if value is None else f"{value:.6g}"
