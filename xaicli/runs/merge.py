"""`xaicli.merge`: stores of shards into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xaicli.claims import refuse_no_store
from xaicli.results.merge import merge as merge_stores
from xaicli.runs.written_file import WrittenFile


def merge(stores: Sequence[str | Path], output: str | Path, *, overwrite: bool = False) -> WrittenFile:
    """Join stores, such as those of the shards of one job, into a new one. A row that several stores hold is kept once.

    overwrite: replace an existing store. Raises InputError if two stores contradict each other or one is not a store, UsageError
    if `output` exists.

        xaicli.merge(["a.db", "b.db"], "all.db")
    """
    refuse_no_store(Path(output))
    return WrittenFile(Path(output), merge_stores(stores, output, overwrite=overwrite), "row")
