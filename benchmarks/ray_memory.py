"""What the driver of a run on Ray keeps of photos that are done: its memory at the end of each part, on a cluster of one machine.

The workers make rows up, so that only the driver, the store and Ray itself are at work.
"""

from __future__ import annotations

import gc
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow

from benchmarks.figures import Figure
from benchmarks.ray import recipes, scored
from xaicli.results.row_table import Records, photos_in
from xaicli.results.store import Store
from xaicli.runs.cluster import stream
from xaicli.runs.cluster.address import LOCAL, connected
from xaicli.runs.cluster.blocks import LARGEST_BLOCK, PHOTOS
from xaicli.runs.cluster.ledger import RunningLedger

PART, PARTS = 256, 6
"""Blocks of a part, fewer than in a run, and parts."""
COLUMNS = 4
"""Rows a photo."""
LARGEST = 100.0
"""Bytes a photo that are taken for none."""


class Inventor:
    """A worker that makes rows up."""

    def __init__(self, ledger: Any) -> None:
        self.recipes = recipes()[:COLUMNS]

    def __call__(self, table: arrow.Table) -> arrow.Table:
        records = Records()
        for number in table.column("place").to_pylist():
            records.add(scored(self.recipes, number), self.recipes)
        return records.table()


def measure(rounds: int) -> list[Figure]:
    return [Figure("growth of the driver's memory while a run goes on, a photo", "B", tuple(growths(rounds)), limit=LARGEST)]


def growths(rounds: int) -> Iterator[float]:
    part, stream.PART, stream.PART_AN_ACTOR = (stream.PART, stream.PART_AN_ACTOR), PART, 1
    try:
        with connected(LOCAL, 1, "cpu") as pool:
            for _ in range(rounds):
                held = np.array(list(memory(stream.Stream(pool, Inventor, RunningLedger(None, None), print))))
                # The first part takes what all others take again.
                yield float(np.polyfit(*held[1:].T, 1)[0])
    finally:
        stream.PART, stream.PART_AN_ACTOR = part


def memory(made: stream.Stream) -> Iterator[tuple[int, int]]:
    """Photos that are done, and bytes of this process alone, at the end of each part."""
    known = recipes()[:COLUMNS]
    done = 0
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "scores.db")) as store:
        for table in made.tables(blocks()):
            for photo in photos_in(table, known):
                store.add(photo.rows, known)
                done += 1
            if done % (PART * LARGEST_BLOCK) == 0:
                gc.collect()
                yield done, own_bytes()


def blocks() -> Iterator[arrow.Table]:
    for start in range(0, PART * PARTS * LARGEST_BLOCK, LARGEST_BLOCK):
        records = [record(number, start) for number in range(start, start + LARGEST_BLOCK)]
        yield arrow.Table.from_pylist(records, schema=PHOTOS)


def record(number: int, block: int) -> dict[str, Any]:
    path = f"photos/{number:012}.jpg"
    return {"block": str(block), "path": path, "name": path, "file": path.encode(), "frame": 0, "content": path, "place": number}


def own_bytes() -> int:
    """Resident bytes of this process that it shares with none."""
    pages, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (pages - shared) * resource.getpagesize()
