"""The driver of an explaining run on Ray: workers write into one folder, the driver tells of it in the photos' order."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as arrow

from xaicli.errors import UsageError
from xaicli.images.source import Source
from xaicli.progress import Progress
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.blocks import block_size, refuse_unsendable
from xaicli.runs.cluster.explain_worker import ExplainWorker, photos_of, result_of
from xaicli.runs.cluster.ledger import start_ledger
from xaicli.runs.cluster.lost_actors import with_new_actors
from xaicli.runs.cluster.shipping import ShippedModel, as_bytes
from xaicli.runs.cluster.stream import Stream
from xaicli.runs.cluster.worker import Job, contents_of
from xaicli.runs.folder import FolderRun
from xaicli.runs.open_model import Model
from xaicli.runs.output import Complete
from xaicli.runs.photos import Failure
from xaicli.runs.written_map import WrittenMap


@dataclass(frozen=True)
class ExplainOnRay:
    """An explaining run on a pool of workers; model, target: as they were given."""

    model: Model
    target: str | int
    pool: Pool
    progress: Progress
    block: int | None = None

    def results(self, run: FolderRun, complete: Complete) -> Generator[list[WrittenMap] | Failure, None, None]:
        """What `FolderRun.run` yields: the maps of each photo, in the order given, or a Failure, which is the last item unless
        the run keeps going. Raises UsageError for what cannot be sent."""
        if run.sheet:
            raise UsageError("--sheet with --ray", hint="Draw it afterwards: the same command without --ray keeps all maps.")
        if (remote := run.output.remote) is not None and "memory" in remote.files.protocol:
            raise UsageError(
                f"-o {remote.url} with --ray", expected="what all workers share", hint="Name a shared folder or a URL."
            )
        refuse_unsendable(run.sources, run.classifier)
        todo = [source for source in run.sources if not run.is_done(source, complete)]
        waiting: dict[Source, list[WrittenMap] | Failure] = {}
        with closing(self.done(run, todo)) as results:
            for source in run.sources:
                if run.is_done(source, complete):
                    yield run.keep(source, complete)
                    continue
                while source not in waiting:
                    made, result = next(results)
                    waiting[made] = result
                    if isinstance(result, Failure) and not run.keep_going:
                        yield result
                        return
                yield waiting.pop(source)

    def done(self, run: FolderRun, todo: list[Source]) -> Generator[tuple[Source, list[WrittenMap] | Failure], None, None]:
        """What became of each photo, as they are done; new actors go on where Ray has lost all of them."""
        if not todo:
            return
        size = block_size(len(todo), self.pool.actors, self.block)
        left = {(source.path, source.frame): source for source in todo}
        stream = Stream(self.pool, ExplainWorker, start_ledger(self.job(run)), self.progress.warn)

        def records(todo: Sequence[Source]) -> Iterator[dict[str, Any]]:
            starts = range(0, len(todo), size)
            blocks: Iterator[arrow.Table] = (photos_of(run, todo[start : start + size]) for start in starts)
            for table in stream.tables(blocks):
                yield from table.to_pylist()

        for record in with_new_actors(todo, records, lambda: list(left.values())):
            source = left.pop((record["path"], record["frame"]))
            yield source, result_of(record, source, run.output.folder)

    def job(self, run: FolderRun) -> Job:
        bare = replace(
            run,
            sources=(),
            classifier=None,  # type: ignore[arg-type]  # a worker puts its own there
            inputs=(),
            keep_going=True,
            output=replace(run.output, stems={}),
            targets=replace(run.targets, by_image={}),
        )
        model = ShippedModel.of(self.model, run.classifier, run.settings.precision)
        contents = contents_of(run.methods, run.classifier)
        return Job(model, as_bytes(bare, "what is to be explained"), self.target, self.pool.threads, contents)
