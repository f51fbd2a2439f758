"""Where photos are scored and explained: in this process, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.packages import require
from xaicli.progress import Progress
from xaicli.results.store import Store
from xaicli.rows import Row
from xaicli.runs.folder import FolderRun
from xaicli.runs.open_model import Model, NamedModel
from xaicli.runs.output import Complete
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import Holding, ScoreRun
from xaicli.runs.written_map import WrittenMap

if TYPE_CHECKING:
    from xaicli.results.parquet_folder import ParquetFolder
    from xaicli.runs.cluster.address import Pool

SINK = "parquet:"


class Keeping(Holding, Protocol):
    """Where rows are kept: a store, or a folder of Parquet files. path: None for a store in memory; is_made: whether a file is
    there."""

    @property
    def path(self) -> Path | None: ...

    @property
    def is_made(self) -> bool: ...


@dataclass(frozen=True)
class Written:
    """A photo whose rows a worker wrote itself: how many."""

    rows: int


Results = Generator[list[Row] | Written | Failure, None, None]


Explaining = Callable[[FolderRun, Complete], Generator[list[WrittenMap] | Failure, None, None]]


def in_this_process(run: ScoreRun, store: Keeping) -> Results:
    assert isinstance(store, Store)
    return (yield from score_missing(run, store))


@dataclass(frozen=True)
class Workplace:
    """results: scores what a store or folder lacks and writes it, as `ScoreRun.run` does; note: a few words on the workers."""

    results: Callable[[ScoreRun, Keeping], Results] = in_this_process
    note: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class ClusterWords:
    """What a call says of the cluster. ray: `auto`, `local` or HOST:PORT, None for this process alone; actors: how many; block:
    photos that are handed to an actor at a time; sink: `parquet:DIR`, where actors write rows themselves."""

    ray: str | None = None
    actors: int | None = None
    block: int | None = None
    sink: str | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The words in the parameters of a public function, which have the names of the fields."""
        return cls(**{field.name: parameters[field.name] for field in dataclasses.fields(cls) if field.name in parameters})

    def check(self) -> None:
        """Raise XaiError before any work: numbers without a cluster, or the extra that is missing."""
        for name in ("actors", "block", "sink"):
            if getattr(self, name) is not None and self.ray is None:
                raise UsageError(f"--{name} without --ray", hint="Add --ray local for this machine.")
        if (self.sink is not None and not self.sink.removeprefix(SINK)) or not (self.sink or SINK).startswith(SINK):
            raise UsageError(f"--sink {self.sink} is no sink", expected="parquet:DIR")
        if self.ray is not None:
            require("ray", "ray")
            require("pyarrow", "ray")

    def folder(self) -> ParquetFolder | None:
        """The folder of the sink, which can be written to; None without one. Raises InputError."""
        if self.sink is None:
            return None
        from xaicli.results.parquet_folder import ParquetFolder

        folder = ParquetFolder(Path(self.sink.removeprefix(SINK)))
        folder.require_writable()
        return folder

    @contextlib.contextmanager
    def workplace(self, model: Model, target: str | int, progress: Progress) -> Iterator[Workplace]:
        """The place of scoring, connected as long as the `with` lasts; model, target: as they were given."""
        if self.ray is None:
            yield Workplace()
            return
        from xaicli.runs.cluster.score_driver import ScoreOnRay

        with self.pool(model, progress) as pool:
            made: list[ScoreOnRay] = []

            def results(run: ScoreRun, store: Keeping) -> Results:
                made[:] = [ScoreOnRay(run, model, target, pool, progress, self.block)]
                return made[0].results(store)

            yield Workplace(results, lambda: made[0].note() if made else "")

    @contextlib.contextmanager
    def explaining(self, model: Model, target: str | int, progress: Progress) -> Iterator[Explaining]:
        """The place of explaining into a folder: `FolderRun.run`, or the same on a cluster."""
        if self.ray is None:
            yield FolderRun.run
            return
        from xaicli.runs.cluster.explain_driver import ExplainOnRay

        with self.pool(model, progress) as pool:
            yield ExplainOnRay(model, target, pool, progress, self.block).results

    @contextlib.contextmanager
    def measured(self, model: Model, progress: Progress) -> Iterator[tuple[int, int | None]]:
        """How many actors would work, and on how many threads each: one, on as many as suit, in this process."""
        if self.ray is None:
            yield 1, None
            return
        with self.pool(model, progress) as pool:
            yield pool.actors, pool.threads

    @contextlib.contextmanager
    def pool(self, model: Model, progress: Progress) -> Iterator[Pool]:
        """The workers of the cluster."""
        from xaicli.runs.cluster.address import connected

        assert self.ray is not None
        with connected(self.ray, self.actors, device_of(model)) as pool:
            progress.say(f"ray {self.ray}: {pool.words()}")
            yield pool


def device_of(model: Model) -> str:
    """The device that was asked for."""
    if isinstance(model, NamedModel):
        return str(model.options.get("device", "auto"))
    return model.device.type if isinstance(model, Classifier) else "auto"
