"""What the driver of a run on Ray keeps of photos that are done: its memory after each part, on a cluster of one machine.

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
from xaicli.runs.cluster.address import LOCAL, connected
from xaicli.runs.cluster.blocks import LARGEST_BLOCK, PHOTOS
from xaicli.runs.cluster.ledger import RunningLedger
from xaicli.runs.cluster.stream import Stream, part_of

PARTS = 3
"""As Ray is given them in a run."""
COLUMNS = 2
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
    with connected(LOCAL, 1, "cpu") as pool:
        for _ in range(rounds):
            held = np.array(memory(Stream(pool, Inventor, RunningLedger(None, None), print), part_of(pool.actors)))
            # The first part takes what all others take again.
            yield float(np.polyfit(*held[1:].T, 1)[0])


def memory(made: Stream, part: int) -> list[tuple[int, int]]:
    """Photos that are done, and bytes of this process alone, before and after each part of so many blocks."""
    known = recipes()[:COLUMNS]
    held: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "scores.db")) as store:
        for table in made.tables(blocks(part, held)):
            for photo in photos_in(table, known):
                store.add(photo.rows, known)
    return held


def blocks(part: int, held: list[tuple[int, int]]) -> Iterator[arrow.Table]:
    """The blocks, which are taken in parts; notes the memory in between."""
    for block in range(part * PARTS + 1):
        if block % part == 0:
            gc.collect()
            held.append((block * LARGEST_BLOCK, own_bytes()))
        if block < part * PARTS:
            numbers = range(block * LARGEST_BLOCK, (block + 1) * LARGEST_BLOCK)
            yield arrow.Table.from_pylist([record(number, block) for number in numbers], schema=PHOTOS)


def record(number: int, block: int) -> dict[str, Any]:
    path = f"photos/{number:012}.jpg"
    return {"block": str(block), "path": path, "name": path, "file": path.encode(), "frame": 0, "content": path, "place": number}


def own_bytes() -> int:
    """Resident bytes of this process that it shares with none."""
    pages, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (pages - shared) * resource.getpagesize()
