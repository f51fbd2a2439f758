"""Checksums of what a store holds, so that damage to a value is seen before it is read.

SQLite looks after the structure of its file and not after what stands in a cell, where a flipped bit is another number. Records
of each table lie in blocks of 64 neighbouring ids, and the table `checksums` holds a hash of each block, written in the
transaction that writes the records.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping

SCORES = ("photos", "paths", "models", "recipes", "subjects", "runs", "rows")
CURVES = ("grids", "curves")
MAPS = ("maps",)
TABLES = (*SCORES, *CURVES, *MAPS)
BLOCK_BITS = 6

Records = list[tuple[object, ...]]


def last_ids(connection: sqlite3.Connection) -> dict[str, int]:
    """The largest id of each table, 0 where it is empty."""
    return {table: last_id(connection, table) for table in TABLES}


def write(connection: sqlite3.Connection, after: Mapping[str, int]) -> None:
    """Write the checksums of all records later than `after`, the ids of before they were added.

    Raises sqlite3.DatabaseError where a block that was begun before is damaged: its new checksum would hide that.
    """
    for table, before in after.items():
        last = last_id(connection, table)
        if last == before:
            continue
        begun = (before + 1) >> BLOCK_BITS
        if earlier := records(connection, table, begun, before):
            require(connection, table, begun, earlier)
        for block in range(begun, (last >> BLOCK_BITS) + 1):
            write_block(connection, table, block)


def write_all(connection: sqlite3.Connection, tables: Iterable[str] = TABLES) -> None:
    """Write the checksums of all that is there."""
    for table in tables:
        for block in range((last_id(connection, table) >> BLOCK_BITS) + 1):
            write_block(connection, table, block)


def write_block(connection: sqlite3.Connection, table: str, block: int) -> None:
    if found := records(connection, table, block):
        connection.execute("INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)", (table, block, checksum(found)))


def require_intact(connection: sqlite3.Connection, tables: Iterable[str] = TABLES) -> None:
    """Raise sqlite3.DatabaseError where something in these tables is not as it was written, or the file is damaged."""
    require_structure(connection)
    for table in tables:
        seen = 0
        for (block,) in connection.execute("SELECT block FROM checksums WHERE name = ?", (table,)).fetchall():
            found = records(connection, table, block)
            require(connection, table, block, found)
            seen += len(found)
        (there,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        if there != seen:
            raise sqlite3.DatabaseError(f"{there:,} records in {table}, {seen:,} of them with a checksum")


def require_structure(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError where SQLite finds a page damaged, or an index that does not say what its table says."""
    found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    if found != "ok":
        raise sqlite3.DatabaseError(found.splitlines()[-1])


def require(connection: sqlite3.Connection, table: str, block: int, found: Records) -> None:
    place = (table, block)
    written = connection.execute("SELECT checksum FROM checksums WHERE name = ? AND block = ?", place).fetchone()
    if written != (checksum(found),):
        at = block << BLOCK_BITS
        raise sqlite3.DatabaseError(f"something in {table} {at} to {at + (1 << BLOCK_BITS) - 1} is not what was written")


def last_id(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT ifnull(max(rowid), 0) FROM {table}").fetchone()[0])


def records(connection: sqlite3.Connection, table: str, block: int, last: int = 2**63 - 1) -> Records:
    """The records of a block, up to the id `last`. Their ids are their rowids; those of curves are the rows'."""
    first = block << BLOCK_BITS
    found = connection.execute(
        f"SELECT * FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid", (first, min(last, first + (1 << BLOCK_BITS) - 1))
    )
    return found.fetchall()


def checksum(found: Records) -> int:
    """64 bits over the values as Python spells them in ASCII, which tells any two apart and is the same on every machine."""
    return int.from_bytes(hashlib.blake2b(ascii(found).encode(), digest_size=8).digest(), signed=True)
