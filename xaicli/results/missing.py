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
    subjects = subjects_of(connection, photos, model)
    if len(subjects) and columns:
        # A photo's subjects and rows were written together, so that those of a run lie side by side.
        there = connection.execute(
            f"SELECT subject, recipe FROM rows WHERE subject BETWEEN ? AND ? AND seed = ? AND recipe IN ({listed(columns)})",
            (int(subjects["id"][0]), int(subjects["id"][-1]), seed),
        )
        found = np.fromiter(there, dtype=[("subject", "i8"), ("recipe", "i8")])
        at = np.minimum(np.searchsorted(subjects["id"], found["subject"]), len(subjects) - 1)
        asked = subjects["id"][at] == found["subject"]
        column_of = np.zeros(max(columns) + 1, dtype=np.int64)
        column_of[list(columns)] = list(columns.values())
        absent[subjects["place"][at[asked]], column_of[found["recipe"][asked]]] = False
    return absent[np.ix_(photo_of, name_of)]


def subjects_of(connection: sqlite3.Connection, photos: Sequence[Wanted], model: str) -> NDArray[np.void]:
    """Ids of the subjects of these photos under one model, sorted, each with the photo's place."""
    with snapshot(connection):
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (place INTEGER PRIMARY KEY, content, frame, target)")
        connection.execute("DELETE FROM wanted")
        connection.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?)", ((place, *photo) for place, photo in enumerate(photos)))
        found = connection.execute(
            "SELECT s.id, w.place FROM wanted w JOIN photos h ON h.content = w.content AND h.frame = w.frame "
            "JOIN models m ON m.fingerprint = ? JOIN subjects s ON s.photo = h.id AND s.model = m.id "
            "WHERE w.target IS NULL OR w.target = s.target ORDER BY s.id",
            (model,),
        )
        return np.fromiter(found, dtype=[("id", "i8"), ("place", "i8")])


def distinct(entries: Sequence[T]) -> tuple[list[T], NDArray[np.int64]]:
    """The entries without repetition, and for each given one its place among them."""
    place = {entry: at for at, entry in enumerate(dict.fromkeys(entries))}
    return list(place), np.asarray([place[entry] for entry in entries], dtype=np.int64)
