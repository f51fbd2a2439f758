"""A shelf for maps that wait for the photo that borrows them: in memory up to a limit, then in a temporary file."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from xaicli.images.source import Source
from xaicli.method import Maps

MEMORY = 256 << 20
"""Bytes that stay in memory: some twelve hundred maps of 224 x 224 pixels."""
DISK = 4 << 30
"""Bytes that the temporary file may take."""
PAGE = 16 << 10
LARGEST = 256 << 20
"""Bytes of one photo's maps; larger ones are made again rather than kept."""


def temporary() -> sqlite3.Connection:
    """A database without a name: SQLite holds it in memory up to `cache_size`, then in a file that no other program sees and
    that is gone with this process, however it ends."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for pragma in (f"page_size={PAGE}", f"cache_size=-{MEMORY >> 10}", f"max_page_count={DISK // PAGE}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("CREATE TABLE maps (place INTEGER PRIMARY KEY, content BLOB NOT NULL)")
    return connection


@dataclass
class MapShelf:
    """Maps by photo and method label. What finds no room is not kept: whoever wants it makes it again, with the same values."""

    places: dict[Source, int] = field(default_factory=dict)
    connection: sqlite3.Connection = field(default_factory=temporary)

    def put(self, source: Source, maps: Mapping[str, Maps]) -> None:
        """Keep a photo's maps and their targets, without what else belongs to them."""
        content = pickle.dumps({label: bare(made) for label, made in maps.items()}, protocol=pickle.HIGHEST_PROTOCOL)
        if len(content) > LARGEST:
            return
        try:
            self.places[source] = self.connection.execute("INSERT INTO maps (content) VALUES (?)", (content,)).lastrowid or 0
        except sqlite3.Error:
            # Full: the file's limit is reached, or the disk's.
            self.places.pop(source, None)

    def take(self, source: Source) -> dict[str, Maps]:
        """A photo's maps, which are then no longer kept; none if they are not here."""
        place = self.places.get(source)
        if place is None:
            return {}
        try:
            found = self.connection.execute("SELECT content FROM maps WHERE place = ?", (place,)).fetchone()
        except sqlite3.Error:
            found = None
        self.drop(source)
        return {} if found is None else pickle.loads(found[0])  # by this process, in a file that only it sees

    def drop(self, source: Source) -> None:
        place = self.places.pop(source, None)
        if place is not None:
            # On a full disk even this may fail. The maps then only take room: nothing asks for them any more.
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("DELETE FROM maps WHERE place = ?", (place,))


def bare(maps: Maps) -> Maps:
    """Values and targets on the processor, without the graph."""
    targets = maps.targets
    numbers = {name: getattr(targets, name).detach().cpu() for name in ("classes", "against", "scores")}
    return Maps(maps.values.detach().cpu(), dataclasses.replace(targets, **numbers), maps.logits.detach().cpu())
