"""A worker of an explaining run: it writes maps, overlays and records itself, and returns what it wrote."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as arrow
from ray import cloudpickle

from xaicli.errors import RunError, XaiError, described
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.record import Record
from xaicli.results.row_table import read_error, spelled
from xaicli.runs.cluster.blocks import PLACE, place_of, read_source
from xaicli.runs.cluster.ledger import Begun
from xaicli.runs.cluster.worker import PhotoWatch, Worker, name_of, told_of
from xaicli.runs.folder import FolderRun
from xaicli.runs.output import Complete, find_complete
from xaicli.runs.photos import Failure
from xaicli.runs.written_map import WrittenMap

PHOTOS = arrow.schema([*PLACE, ("stem", arrow.string())])
OUTCOMES = arrow.schema([("path", arrow.string()), ("frame", arrow.int32()), ("error", arrow.string()), ("maps", arrow.string())])


def photos_of(run: FolderRun, sources: Sequence[Source]) -> arrow.Table:
    """The photos of a block: where they are, and the stems of their files."""
    name = f"{name_of(sources[0])} and {len(sources) - 1} more" if len(sources) > 1 else name_of(sources[0])
    records = [place_of(source, name, run.targets) | {"stem": run.output.stems[source]} for source in sources]
    return arrow.Table.from_pylist(records, schema=PHOTOS)


class ExplainWorker(Worker):
    """Explains a block into the output folder, by the same function as a plain run."""

    def prepare(self, classifier: Classifier) -> None:
        run: FolderRun = replace(cloudpickle.loads(self.job.run), classifier=classifier)
        # Of a folder at a URL, each worker has a copy of its own.
        folder = run.output.folder if run.output.remote is None else run.output.remote.folder
        self.run = replace(run, output=replace(run.output, folder=folder))

    def work(self, table: arrow.Table, begun: Begun) -> arrow.Table:
        records = table.to_pylist()
        stems = {read_source(record): record["stem"] for record in records}
        block = records[0]["block"]
        watch = PhotoWatch(self.ledger, block, begun)
        # Many photos share a batch, so a block that ended its worker is tried again photo by photo.
        parts = [[source] for source in stems] if begun.ends.get(block) else [list(stems)]
        rules = {record["path"]: pickle.loads(record["rule"]) for record in records if record["rule"] is not None}
        found: list[dict[str, Any]] = []
        for part in parts:
            try:
                if self.fault is not None:
                    raise self.fault
                self.job.require_same_methods(self.run.methods, self.run.classifier)
                watch(part[0]) if len(part) == 1 else watch.note(block)
                found += self.explained(part, stems, rules)
            except XaiError as error:
                found += [outcome(source, Failure(source, error)) for source in part]
            # Named, with its photos.
            except Exception as error:
                fault = RunError(f"{block}: a fault in xai itself: {described(error)}")
                found += [outcome(source, Failure(source, fault)) for source in part]
        return arrow.Table.from_pylist(found, schema=OUTCOMES)

    def explained(self, part: Sequence[Source], stems: dict[Source, str], rules: dict[str, Any]) -> list[dict[str, Any]]:
        targets = replace(self.run.targets, by_image=rules) if rules else self.run.targets
        output = replace(self.run.output, stems=stems)
        run = replace(self.run, sources=part, targets=targets, output=output)
        # At a URL only the driver looks for what is complete, once for all photos.
        anew = run.overwrite or output.remote is not None
        complete = Complete() if anew else find_complete(output, part, run.methods, targets, run.classifier, run.settings)
        return [outcome(source, result, output.folder) for source, result in zip(part, run.run(complete), strict=True)]


def outcome(source: Source, result: list[WrittenMap] | Failure, folder: Path = Path()) -> dict[str, Any]:
    """What became of a photo; folder: the worker's, from which places are told."""
    about = {"path": source.path, "frame": source.frame}
    if isinstance(result, Failure):
        return about | {"error": spelled(told_of(result))}
    maps = [
        {"record": written.record.to_json(), "place": written.stem.relative_to(folder).as_posix(), "kept": written.kept}
        for written in result
    ]
    return about | {"maps": json.dumps(maps)}


def result_of(record: dict[str, Any], source: Source, folder: Path) -> list[WrittenMap] | Failure:
    """What a worker wrote of a photo; folder: the driver's."""
    if record["error"] is not None:
        return Failure(source, read_error(record["error"]))
    return [
        WrittenMap.of(source, Record.from_json(one["record"], one["place"]), folder / one["place"], kept=one["kept"])
        for one in json.loads(record["maps"])
    ]
