"""The driver of a scoring run on Ray: it plans, hands out blocks, and alone writes the store."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as arrow

from xaicli.errors import UsageError
from xaicli.images.source import Source
from xaicli.progress import Progress
from xaicli.results.parquet_folder import ParquetFolder
from xaicli.results.row_table import PhotoRows, photos_in
from xaicli.results.store import Store
from xaicli.rows import Row
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.blocks import LENDERS, block_size, blocks_of, refuse_unsendable
from xaicli.runs.cluster.ledger import start_ledger
from xaicli.runs.cluster.lost_actors import with_new_actors
from xaicli.runs.cluster.score_worker import ScoreJob, ScoreWorker
from xaicli.runs.cluster.shipping import ShippedModel, as_bytes
from xaicli.runs.cluster.stream import Stream
from xaicli.runs.cluster.worker import contents_of
from xaicli.runs.open_model import Model
from xaicli.runs.photo_scores import NewScores, keep
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.workplace import Keeping, Written

PLANNED = 10_000
"""Photos for which the store is asked at a time."""
FURTHER = 8
"""How many times more photos a block holds behind each photo when none of the first could lend its map."""


@dataclass(frozen=True)
class ScoreOnRay:
    """A scoring run on a pool of workers.

    model, target: as they were given, which workers open and read again; block: photos a block, None for what suits the run.
    """

    run: ScoreRun
    model: Model
    target: str | int
    pool: Pool
    progress: Progress
    block: int | None = None
    streams: list[Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be sent."""
        if self.run.given_maps:
            raise UsageError("--maps with --ray", hint="Score maps of files on one machine, or in parts with --shard.")
        refuse_unsendable(self.run.sources, self.run.classifier)

    def stream(self, folder: ParquetFolder | None) -> Stream:
        """The workers; they start with the first block."""
        made = Stream(self.pool, ScoreWorker, start_ledger(self.job(folder)), self.progress.warn)
        self.streams.append(made)
        return made

    def note(self) -> str:
        """A few words on the workers."""
        return self.streams[-1].note() if self.streams else ""

    def job(self, folder: ParquetFolder | None) -> ScoreJob:
        # A worker puts its own classifier there.
        run = replace(self.run, sources=(), all_sources=(), classifier=None)  # type: ignore[arg-type]
        bare = replace(run, targets=replace(run.targets, by_image={}))
        model = ShippedModel.of(self.model, self.run.classifier, self.run.settings.precision)
        ring = len(self.run.ring.order)
        place = None if folder is None else folder.path.absolute()
        contents = contents_of(self.run.methods, self.run.classifier)
        return ScoreJob(model, as_bytes(bare, "what is to be scored"), self.target, self.pool.threads, contents, ring, place)

    def results(self, store: Keeping) -> Generator[list[Row] | Written | Failure, None, None]:
        """Score what is missing in the store and write it, one transaction a photo, or let the workers write into a folder;
        yields the new rows of each photo, how many were written, or a Failure, in the order in which they are done. A Failure is
        the last item unless the run keeps going.
        """
        folder = store if isinstance(store, ParquetFolder) else None
        for photo in self.photos(store, folder):
            source = Source(photo.image, frame=photo.frame)
            if photo.error is not None:
                yield Failure(source, photo.error)
                if not self.run.keep_going:
                    return
            elif isinstance(store, Store):
                keep(self.run, NewScores(source, list(photo.rows), list(photo.maps)), store, self.pool.device)
                yield list(photo.rows)
            else:
                yield Written(photo.written)

    def photos(self, store: Keeping, folder: ParquetFolder | None) -> Generator[PhotoRows, None, None]:
        """What becomes of each photo that lacks rows in the store. Photos whose followers could not lend a map are tried once
        more with further ones."""
        todo, lenders = self.run.todo(store), LENDERS
        stream = self.stream(folder) if todo else None
        while todo and stream is not None:
            alone: set[tuple[str, int]] = set()
            failed: set[tuple[str, int]] = set()
            left = partial(self.left, todo, store, failed)
            for photo in with_new_actors(todo, partial(self.round, stream, store, lenders), left):
                if photo.error is not None:
                    failed.add((photo.image, photo.frame))
                if photo.alone and lenders < len(self.run.ring.order):
                    alone.add((photo.image, photo.frame))
                    if not photo.rows:
                        continue
                yield photo
            todo, lenders = [source for source in todo if (source.path, source.frame) in alone], lenders * FURTHER

    def left(self, todo: Sequence[Source], store: Keeping, failed: Set[tuple[str, int]]) -> list[Source]:
        """The photos that lack rows and did not fail."""
        return [source for source in self.run.incomplete(store, todo) if (source.path, source.frame) not in failed]

    def round(self, stream: Stream, store: Keeping, lenders: int, todo: Sequence[Source]) -> Generator[PhotoRows, None, None]:
        for table in stream.tables(self.blocks(todo, store, lenders)):
            yield from photos_in(table, self.run.recipes)

    def blocks(self, todo: Sequence[Source], store: Keeping, lenders: int) -> Iterator[arrow.Table]:
        """The blocks of a round; nothing of the plan is kept once they are sent."""
        size = block_size(len(todo), self.pool.actors, self.block)
        at_once = size * max(1, PLANNED // size)
        for start in range(0, len(todo), at_once):
            part = todo[start : start + at_once]
            yield from blocks_of(self.run, part, self.run.missing(store, part), size, lenders)
