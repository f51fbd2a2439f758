"""A worker of a scoring run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as arrow
from ray import cloudpickle

from xaicli.errors import RunError, XaiError, described
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.results.parquet_folder import ParquetFolder
from xaicli.results.row_table import PhotoRows, Records
from xaicli.rows import Recipe
from xaicli.runs.cluster.blocks import Block
from xaicli.runs.cluster.ledger import Begun
from xaicli.runs.cluster.worker import Job, PhotoWatch, Worker, told_of
from xaicli.runs.controls import Stretch
from xaicli.runs.photo_scores import NewScores, score_photos
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import ScoreRun


@dataclass(frozen=True)
class ScoreJob(Job):
    """ring: how many photos lend each other maps in the whole job; folder: where workers write rows themselves, None if the
    driver writes them."""

    ring: int = 0
    folder: Path | None = None


class ScoreWorker(Worker):
    """Makes the rows of a block, by the same function as a plain run."""

    job: ScoreJob
    recipes: Sequence[Recipe] = ()

    def prepare(self, classifier: Classifier) -> None:
        nobody = Stretch({}, {}, {}, self.job.ring)
        self.run: ScoreRun = replace(cloudpickle.loads(self.job.run), classifier=classifier, hashes={}, stretch=nobody)
        self.recipes = self.run.recipes

    def work(self, table: arrow.Table, begun: Begun) -> arrow.Table:
        found = self.results(Block.read(table), begun)
        return self.told(found) if self.job.folder is None else self.written(found, self.job.folder)

    def told(self, found: Sequence[PhotoRows]) -> arrow.Table:
        """All rows, for the driver."""
        records = Records()
        for photo in found:
            records.add(photo, self.recipes)
        return records.table()

    def written(self, found: Sequence[PhotoRows], folder: Path) -> arrow.Table:
        """The rows in a file of their own; the driver is told how many there are of each photo."""
        if rows := [photo for photo in found if photo.rows]:
            try:
                ParquetFolder(folder).write(self.told(rows), self.recipes, self.run.record)
            except XaiError as error:
                return self.told([replace(photo, rows=(), maps=(), error=photo.error or error) for photo in found])
        return self.told([replace(photo, rows=(), maps=(), written=len(photo.rows)) for photo in found])

    def results(self, block: Block, begun: Begun) -> list[PhotoRows]:
        """What becomes of each photo of a block, in its order."""
        found: dict[Source, PhotoRows] = {}
        while left := [source for source in block.todo if source not in found]:
            found |= self.attempt(block, left, PhotoWatch(self.ledger, block.name, begun))
        return [found[source] for source in block.todo]

    def attempt(self, block: Block, todo: list[Source], watch: PhotoWatch) -> dict[Source, PhotoRows]:
        """Score photos in order, up to the first that meets a fault of our own: that is its failure, and no end of the job."""
        found: dict[Source, PhotoRows] = {}
        try:
            if self.fault is not None:
                raise self.fault
            self.job.require_same_methods(self.run.methods, self.run.classifier)
            run = replace(
                self.run, sources=todo, targets=block.targets(self.run.targets), hashes=block.contents, stretch=block.stretch
            )
            for result in score_photos(run, todo, lambda source, partner=None: block.gaps[source], watch):
                found[result.source] = outcome(result, block)
        except XaiError as error:
            return found | {source: outcome(Failure(source, error), block) for source in todo if source not in found}
        # Named, with its photo.
        except Exception as error:
            at = next(source for source in todo if source not in found)
            fault = RunError(f"{at.path}: a fault in xai itself: {described(error)}")
            return found | {at: outcome(Failure(at, fault), block)}
        return found


def outcome(result: NewScores | Failure, block: Block) -> PhotoRows:
    source = result.source
    about = source.path, block.contents.get(source, ""), source.frame
    if isinstance(result, NewScores):
        return PhotoRows(*about, rows=result.rows, maps=result.maps, alone=result.alone)
    return PhotoRows(*about, error=told_of(result))
