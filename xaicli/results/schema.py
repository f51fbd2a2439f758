"""The tables of a store, as steps from one schema version to the next; `user_version` counts the steps taken."""

from __future__ import annotations

import contextlib
import sqlite3

from xaicli.results import checksums

APPLICATION_ID = 0x78616931
"""`xai1`: the application id in the SQLite header of a store, so that another application's database is never read as one."""

FIRST = """
CREATE TABLE photos (id INTEGER PRIMARY KEY, content TEXT NOT NULL, frame INTEGER NOT NULL, UNIQUE (content, frame));
CREATE TABLE paths (id INTEGER PRIMARY KEY, photo INTEGER NOT NULL REFERENCES photos, path TEXT NOT NULL, UNIQUE (photo, path));
CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY, definition TEXT NOT NULL UNIQUE, method_definition TEXT NOT NULL,
    method TEXT NOT NULL, metric TEXT NOT NULL, method_content TEXT NOT NULL, metric_content TEXT NOT NULL,
    target_rule TEXT NOT NULL, precision TEXT NOT NULL,
    direction TEXT NOT NULL, control INTEGER NOT NULL, passes TEXT NOT NULL, unit TEXT NOT NULL, ratios TEXT NOT NULL
);
CREATE TABLE subjects (
    id INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, photo INTEGER NOT NULL REFERENCES photos,
    model INTEGER NOT NULL REFERENCES models, target TEXT NOT NULL, target_name TEXT NOT NULL
);
CREATE INDEX subjects_by_photo ON subjects (photo, model);
CREATE TABLE runs (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, subject INTEGER NOT NULL REFERENCES subjects, recipe INTEGER NOT NULL REFERENCES recipes,
    seed INTEGER NOT NULL, path INTEGER NOT NULL REFERENCES paths, run INTEGER REFERENCES runs,
    value REAL, status TEXT NOT NULL, readouts TEXT,
    UNIQUE (subject, recipe, seed)
);
CREATE TABLE grids (id INTEGER PRIMARY KEY, x BLOB NOT NULL UNIQUE);
CREATE TABLE curves (row INTEGER PRIMARY KEY REFERENCES rows, grid INTEGER NOT NULL REFERENCES grids, y BLOB NOT NULL);
CREATE TABLE maps (
    id INTEGER PRIMARY KEY, subject INTEGER NOT NULL REFERENCES subjects, method_definition TEXT NOT NULL, method TEXT NOT NULL,
    seed INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL, map BLOB NOT NULL, peak REAL NOT NULL,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, signed INTEGER NOT NULL,
    UNIQUE (subject, method_definition, seed)
);
"""

KINDS = """
ALTER TABLE recipes ADD COLUMN kind TEXT NOT NULL DEFAULT 'continuous';
ALTER TABLE recipes ADD COLUMN lowest REAL NOT NULL DEFAULT -9e999;
ALTER TABLE recipes ADD COLUMN highest REAL NOT NULL DEFAULT 9e999;
ALTER TABLE recipes ADD COLUMN of_map_alone INTEGER NOT NULL DEFAULT 0;
UPDATE recipes SET lowest = 0, highest = 1 WHERE json_extract(metric_content, '$.name')
    IN ('deletion', 'insertion', 'pointing-game', 'energy-pointing-game', 'relevance-rank', 'iou', 'sparseness', 'road');
UPDATE recipes SET lowest = -0.5, highest = 0.5 WHERE json_extract(metric_content, '$.name') = 'road'
    AND json_extract(metric_content, '$.parameters.order') = 'combined';
UPDATE recipes SET lowest = 0, highest = 100 WHERE json_extract(metric_content, '$.name')
    IN ('average-drop', 'increase-in-confidence', 'average-gain');
UPDATE recipes SET lowest = -1, highest = 1 WHERE json_extract(metric_content, '$.name')
    IN ('stability', 'randomization', 'class-sensitivity') OR json_extract(metric_content, '$.name') = 'aopc'
    AND json_extract(metric_content, '$.parameters.output') = 'probability';
UPDATE recipes SET lowest = 0 WHERE json_extract(metric_content, '$.name')
    IN ('infidelity', 'max-sensitivity', 'seed-variance', 'entropy');
UPDATE recipes SET kind = 'skewed' WHERE json_extract(metric_content, '$.name')
    IN ('infidelity', 'max-sensitivity', 'seed-variance');
UPDATE recipes SET kind = 'binary' WHERE json_extract(metric_content, '$.name')
    IN ('pointing-game', 'increase-in-confidence');
UPDATE recipes SET of_map_alone = 1 WHERE json_extract(metric_content, '$.name') IN ('sparseness', 'entropy');
"""
"""The kinds and ranges of values of metrics. Recipes in older stores get those of the metrics that existed then."""

REGIONS = """
ALTER TABLE maps ADD COLUMN region_height INTEGER NOT NULL DEFAULT 0;
ALTER TABLE maps ADD COLUMN region_width INTEGER NOT NULL DEFAULT 0;
ALTER TABLE maps ADD COLUMN region BLOB NOT NULL DEFAULT X'';
"""
"""The region that a target is of, a bit a cell; without cells where it is of none."""

CHECKSUMS = """
CREATE TABLE checksums (
    name TEXT NOT NULL, block INTEGER NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (name, block)
) WITHOUT ROWID
"""

STEPS: list[str] = [FIRST, KINDS, REGIONS, CHECKSUMS]
"""Step i leads from schema i to i + 1. Released steps are never edited: a change is a new step."""
WITH_CHECKSUMS = 4
"""Stores of this schema and later ones have checksums of what they hold."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store to the newest schema in one transaction; do nothing if it has that schema."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read the version again under the lock: another process may have upgraded in between.
        for step in STEPS[version(connection) :]:
            for statement in step.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        if version(connection) < len(STEPS):
            checksums.write_all(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """Roll back a transaction that failed. If that fails too, closing does it, and the first error is the one to report."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def application(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def foreign_objects(connection: sqlite3.Connection) -> list[str]:
    """Triggers and views. A store has none, and those of an untrusted file could run at any statement."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchall()
    return [str(name) for (name,) in found]
