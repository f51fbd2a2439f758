"""Which rows a store does not hold yet, which every run asks before it works."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xaicli.results.connection import listed, snapshot
from xaicli.results.partners import NUMBER
from xaicli.rows import Recipe, partner_number, steps_on_the_ring

T = TypeVar("T", bound=Hashable)
Wanted = tuple[str, int, str | None, str | None]
"""Content hash, frame, the resolved target if it is known before the model has run, and the content of the partner, whose map is
the control `other`, if it is known."""


def missing(
    connection: sqlite3.Connection, wanted: Sequence[Wanted], recipes: Sequence[Recipe], model: str, seed: int
) -> NDArray[np.bool_]:
    """Missing rows as (wanted, recipes), True for a missing row. A photo or recipe that is given twice is answered twice."""
    photos, photo_of = distinct(wanted)
    named = {recipe.definition: recipe.has_partner for recipe in recipes}
    names, name_of = distinct([recipe.definition for recipe in recipes])
    absent = np.ones((len(photos), len(names)), dtype=bool)
    known = dict(connection.execute("SELECT id, definition FROM recipes"))
    places = {text: place for place, text in enumerate(names)}
    columns = {key: places[text] for key, text in known.items() if text in places and not named[text]}
    others = {key: places[text] for key, text in known.items() if text in places and named[text]}
    if columns or others:
        ask(connection, photos, model)
    if others:
        mark_others(connection, photos, others, seed, absent)
    if columns:
        mark(connection, columns, seed, absent)
    return absent[np.ix_(photo_of, name_of)]


def rows_of(columns: Iterable[int]) -> str:
    """SQL for the requested rows of these recipes and one seed."""
    return f"FROM temp.asked a CROSS JOIN rows r ON r.subject = a.subject WHERE r.seed = ? AND r.recipe IN ({listed(columns)})"


def mark(connection: sqlite3.Connection, columns: Mapping[int, int], seed: int, absent: NDArray[np.bool_]) -> None:
    """Set `absent` to False for rows that exist; columns: position by recipe."""
    mine = rows_of(columns)
    # Counting is faster than fetching, and most photos of a resumed run are complete.
    counts = connection.execute(f"SELECT a.rowid, a.place {mine} GROUP BY a.rowid HAVING count(*) = {len(columns)}", (seed,))
    complete = np.fromiter(counts, dtype=[("row", "i8"), ("place", "i8")])
    absent[np.ix_(complete["place"], np.asarray(list(columns.values())))] = False
    connection.executemany("DELETE FROM temp.asked WHERE rowid = ?", ((row,) for row in complete["row"].tolist()))
    there = connection.execute(f"SELECT a.place, r.recipe {mine}", (seed,))
    found = np.fromiter(there, dtype=[("place", "i8"), ("recipe", "i8")])
    column_of = np.zeros(max(columns) + 1, dtype=np.int64)
    column_of[list(columns)] = list(columns.values())
    absent[found["place"], column_of[found["recipe"]]] = False


def mark_others(
    connection: sqlite3.Connection, photos: Sequence[Wanted], columns: Mapping[int, int], seed: int, absent: NDArray[np.bool_]
) -> None:
    """The same for the control `other`: a row counts if its partner is the wanted one or a nearer one."""
    for place, recipe, number in connection.execute(f"SELECT a.place, r.recipe, {NUMBER} {rows_of(columns)}", (seed,)):
        content, *_, partner = photos[place]
        near = partner is None or number is None
        if near or steps_on_the_ring(content, number) <= steps_on_the_ring(content, partner_number(partner)):
            absent[place, columns[recipe]] = False


def ask(connection: sqlite3.Connection, photos: Sequence[Wanted], model: str) -> None:
    """Fill the temporary table `asked` with the subjects of these photos under one model, each with the photo's position."""
    with snapshot(connection):
        for table in ("wanted (place INTEGER PRIMARY KEY, content, frame, target)", "asked (subject INTEGER, place INTEGER)"):
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table}")
            connection.execute(f"DELETE FROM temp.{table.partition(' ')[0]}")
        connection.executemany(
            "INSERT INTO wanted VALUES (?, ?, ?, ?)", ((place, *photo[:3]) for place, photo in enumerate(photos))
        )
        connection.execute(
            "INSERT INTO asked SELECT s.id, w.place FROM wanted w "
            "JOIN photos h ON h.content = w.content AND h.frame = w.frame "
            "JOIN models m ON m.fingerprint = ? JOIN subjects s ON s.photo = h.id AND s.model = m.id "
            "WHERE w.target IS NULL OR w.target = s.target ORDER BY s.id",
            (model,),
        )


def distinct(entries: Sequence[T]) -> tuple[list[T], NDArray[np.int64]]:
    """The entries without repetition, and the position of each given entry among them."""
    place = {entry: at for at, entry in enumerate(dict.fromkeys(entries))}
    return list(place), np.asarray([place[entry] for entry in entries], dtype=np.int64)
