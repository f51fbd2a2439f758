"""The table of photos that the driver sends: paths, contents and targets, never pixels.

A block is a stretch of the ring of content hashes: the photos to score, and behind each the next ones, whose maps the control
`other` may need. A worker explains those again; no map travels.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from xaicli.errors import UsageError
from xaicli.images.elsewhere import Elsewhere
from xaicli.images.names import has_place
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.runs.controls import Stretch
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.target_choice import TargetChoice

LARGEST_BLOCK = 32
"""Photos of a block: what is done again where a worker dies."""
BLOCKS_AN_ACTOR = 4
"""A short run has at least so many blocks for each actor, so that all end at about the same time."""
LENDERS = 4
"""How many of the following photos a block holds behind each photo, in case the next ones cannot be used."""

PLACE = [
    ("block", arrow.string()),
    ("path", arrow.string()),
    ("name", arrow.string()),
    ("file", arrow.binary()),
    ("elsewhere", arrow.binary()),
    ("frame", arrow.int32()),
    ("rule", arrow.binary()),
]
"""Where a photo is, and its own target where a file names one."""

PHOTOS = arrow.schema(
    [
        *PLACE,
        ("content", arrow.string()),
        ("place", arrow.int64()),
        ("size", arrow.int64()),
        ("lends", arrow.bool_()),
        ("gaps", arrow.binary()),
    ]
)


@dataclass(frozen=True)
class Block:
    """A block as a worker has it: photos to score, which rows each lacks, and the stretch of the ring around them.

    name: the same for the same photos, however often the block is tried; rules: the targets of photos by path, of a target file.
    """

    name: str
    todo: Sequence[Source]
    gaps: Mapping[Source, NDArray[np.bool_]]
    contents: Mapping[Source, str]
    stretch: Stretch
    rules: Mapping[str, Any]

    @classmethod
    def read(cls, table: arrow.Table) -> Block:
        todo, gaps, contents, rules = [], {}, {}, {}
        place_of: dict[str, int] = {}
        lenders: dict[int, Source] = {}
        size = 0
        records = table.to_pylist()
        for record in records:
            source = read_source(record)
            if record["content"]:
                contents[source] = record["content"]
            if record["place"] >= 0:
                place_of[record["content"]] = record["place"]
                if record["lends"]:
                    lenders[record["place"]] = source
            size = record["size"]
            if record["gaps"] is not None:
                todo.append(source)
                gaps[source] = np.frombuffer(record["gaps"], dtype=bool)
            if record["rule"] is not None:
                rules[source.path] = pickle.loads(record["rule"])
        ring = {source: content for source, content in contents.items() if content in place_of}
        return cls(records[0]["block"], todo, gaps, contents, Stretch(ring, place_of, lenders, size), rules)

    def targets(self, choice: TargetChoice) -> TargetChoice:
        return replace(choice, by_image=dict(self.rules)) if choice.file else choice


def block_size(photos: int, actors: int, wanted: int | None) -> int:
    """Photos of a block: as named, else few enough that every actor gets several blocks."""
    return wanted or max(1, min(LARGEST_BLOCK, -(-photos // (actors * BLOCKS_AN_ACTOR))))


def blocks_of(
    run: ScoreRun, todo: Sequence[Source], gaps: NDArray[np.bool_], size: int, lenders: int = LENDERS
) -> Iterator[arrow.Table]:
    """The blocks of a run; todo: sorted as `ScoreRun.todo` does; gaps: (todo, recipes)."""
    ring = run.ring
    for start in range(0, len(todo), size):
        part = todo[start : start + size]
        # In the order of the ring; a photo that lends may be one of those to score.
        around: dict[Source, NDArray[np.bool_] | None] = {}
        for source, gap in zip(part, gaps[start : start + size], strict=True):
            around[source] = gap
            for step, after in enumerate(ring.after(source)):
                if step == lenders:
                    break
                around.setdefault(after, None)
        name = f"{run.contents.get(part[0], part[0].path)[:16]}+{part[0].frame}+{len(part)}+{lenders}"
        records = [record_of(run, name, source, gap, len(ring.order)) for source, gap in around.items()]
        yield arrow.Table.from_pylist(records, schema=PHOTOS)


def record_of(run: ScoreRun, block: str, source: Source, gap: NDArray[np.bool_] | None, size: int) -> dict[str, Any]:
    content = run.contents.get(source, "")
    place = run.ring.place(content)
    return place_of(source, block, run.targets) | {
        "content": content,
        "place": place,
        "size": size,
        "lends": place >= 0 and run.ring.order[place] == source,
        "gaps": None if gap is None else gap.tobytes(),
    }


def place_of(source: Source, block: str, targets: TargetChoice) -> dict[str, Any]:
    """The columns of PLACE."""
    return {
        "block": block,
        "path": source.path,
        "name": source.name,
        "file": os.fsencode(os.path.abspath(source.file)) if source.file is not None else None,
        "elsewhere": pickle.dumps(source.memory) if isinstance(source.memory, Elsewhere) else None,
        "frame": source.frame,
        "rule": pickle.dumps(targets.rule_of(source)) if targets.file else None,
    }


def read_source(record: dict[str, Any]) -> Source:
    """The photo of a record, with a path that does not depend on the current folder."""
    about = record["path"], record["name"], record["frame"]
    if record["elsewhere"] is not None:
        return Source(*about, None, pickle.loads(record["elsewhere"]))
    return Source(*about, Path(os.fsdecode(record["file"])))


def refuse_unsendable(sources: Sequence[Source], classifier: Classifier) -> None:
    """Raise UsageError for photos that are no files, and for sequences."""
    if classifier.view.frames:
        raise UsageError(f"{classifier.name} reads sequences", expected="photos", hint="Leave --ray out for sequences.")
    for source in sources:
        if not has_place(source):
            raise UsageError(f"{source.path} is in memory", expected="files that workers read", hint="Give paths with --ray.")
