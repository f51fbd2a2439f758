"""What a store does not hold yet: the question every run asks before it works."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xaicli.results.connection import listed, snapshot

T = TypeVar("T", bound=Hashable)
Wanted = tuple[str, int, str | None]
"""Content hash, frame, and the resolved target where it is known before the model ran."""


def missing(
    connection: sqlite3.Connection, wanted: Sequence[Wanted], definitions: Sequence[str], model: str, seed: int
) -> NDArray[np.bool_]:
    """(wanted, definitions), True where no row is there. A photo and a definition given twice are answered twice."""
    photos, photo_of = distinct(wanted)
    names, name_of = distinct(definitions)
    absent = np.ones((len(photos), len(names)), dtype=bool)
    known = dict(connection.execute("SELECT id, definition FROM recipes"))
    places = {text: place for place, text in enumerate(names)}
    columns = {key: places[text] for key, text in known.items() if text in places}
    if not columns:
        return absent[np.ix_(photo_of, name_of)]
    ask(connection, photos, model)
    mine = f"FROM temp.asked a CROSS JOIN rows r ON r.subject = a.subject WHERE r.seed = ? AND r.recipe IN ({listed(columns)})"
    # Counting is quicker than fetching, and most photos of a run that is taken up again are complete.
    counts = connection.execute(f"SELECT a.rowid, a.place {mine} GROUP BY a.rowid HAVING count(*) = {len(columns)}", (seed,))
    complete = np.fromiter(counts, dtype=[("row", "i8"), ("place", "i8")])
    absent[np.ix_(complete["place"], np.asarray(list(columns.values())))] = False
    connection.executemany("DELETE FROM temp.asked WHERE rowid = ?", ((row,) for row in complete["row"].tolist()))
    there = connection.execute(f"SELECT a.place, r.recipe {mine}", (seed,))
    found = np.fromiter(there, dtype=[("place", "i8"), ("recipe", "i8")])
    column_of = np.zeros(max(columns) + 1, dtype=np.int64)
    column_of[list(columns)] = list(columns.values())
    absent[found["place"], column_of[found["recipe"]]] = False
    return absent[np.ix_(photo_of, name_of)]


def ask(connection: sqlite3.Connection, photos: Sequence[Wanted], model: str) -> None:
    """Fill the temporary table `asked`: the subjects of these photos under one model, each with the photo's place."""
    with snapshot(connection):
        for table in ("wanted (place INTEGER PRIMARY KEY, content, frame, target)", "asked (subject INTEGER, place INTEGER)"):
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table}")
            connection.execute(f"DELETE FROM temp.{table.partition(' ')[0]}")
        connection.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?)", ((place, *photo) for place, photo in enumerate(photos)))
        connection.execute(
            "INSERT INTO asked SELECT s.id, w.place FROM wanted w "
            "JOIN photos h ON h.content = w.content AND h.frame = w.frame "
            "JOIN models m ON m.fingerprint = ? JOIN subjects s ON s.photo = h.id AND s.model = m.id "
            "WHERE w.target IS NULL OR w.target = s.target ORDER BY s.id",
            (model,),
        )


def distinct(entries: Sequence[T]) -> tuple[list[T], NDArray[np.int64]]:
    """The entries without repetition, and for each given one its place among them."""
    place = {entry: at for at, entry in enumerate(dict.fromkeys(entries))}
    return list(place), np.asarray([place[entry] for entry in entries], dtype=np.int64)
