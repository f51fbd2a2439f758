"""A worker of `xai explain --ray -o URL` sends what it makes, and tells of it in the driver's places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from ray_shell import NET, RayShell

pytest.importorskip("ray")
pytest.importorskip("fsspec")

import fsspec
import pyarrow as arrow

import xaicli
from xaicli.errors import UsageError
from xaicli.images.names import stems
from xaicli.progress import SILENT
from xaicli.registry import make_methods
from xaicli.runs.cluster import explain_driver
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.explain_driver import ExplainOnRay
from xaicli.runs.cluster.explain_worker import ExplainWorker, result_of
from xaicli.runs.cluster.ledger import Begun, RunningLedger
from xaicli.runs.cluster.lost_actors import ActorsLost
from xaicli.runs.cluster.stream import Stream
from xaicli.runs.cluster.worker import PhotoWatch
from xaicli.runs.find_photos import find_photos
from xaicli.runs.folder import FolderRun
from xaicli.runs.output import OutputFolder
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import choose_targets


def test_a_worker_writes_to_the_url_from_a_copy_of_its_own(shell: RayShell) -> None:
    files, url = fsspec.filesystem("memory"), "memory://maps-of-a-worker"
    model = xaicli.load_classifier(f"{NET}:make")
    sources = find_photos("photos").sources
    output = OutputFolder.of(url, stems(sources))
    run = FolderRun(sources, model, make_methods(["grad-cam"]), choose_targets("top1", model), Settings(), output)
    worker = object.__new__(ExplainWorker)
    worker.job = ExplainOnRay(f"{NET}:make", "top1", Pool(1, 1, 1), SILENT).job(run)
    worker.prepare(model)
    assert worker.run.output.folder != output.folder
    told = worker.explained(sources, output.stems, {})
    for source, record in zip(sources, told, strict=True):
        [written] = result_of(record | {"error": record.get("error")}, source, output.folder)
        assert written.stem == output.folder / f"{Path(source.path).stem}.grad-cam"
        assert not written.kept
    there = {path.rpartition("/")[2] for path in files.find("/maps-of-a-worker")}
    assert there == {f"{number}.grad-cam.{ending}" for number in range(7) for ending in ("npy", "png", "json")}
    # A plain run finds all of it.
    assert shell("explain", "photos", "--model", f"{NET}:make", "--method", "grad-cam", "-o", url) == 0, shell.err
    assert "7 of 7 maps complete before" in shell.err


def test_the_memory_of_a_process_which_workers_do_not_share_is_refused(shell: RayShell) -> None:
    model = xaicli.load_classifier(f"{NET}:make")
    sources = find_photos("photos").sources
    output = OutputFolder.of("memory://lost", stems(sources))
    run = FolderRun(sources, model, make_methods(["grad-cam"]), choose_targets("top1", model), Settings(), output)
    with pytest.raises(UsageError, match="-o memory://lost with --ray; expected what all workers share"):
        next(ExplainOnRay(f"{NET}:make", "top1", Pool(1, 1, 1), SILENT).results(run, run.find()))


def in_this_process(monkeypatch: pytest.MonkeyPatch, times: int, before: int) -> FolderRun:
    """A run whose blocks are done here; the first `times` pools of actors are lost after `before` blocks."""
    model = xaicli.load_classifier(f"{NET}:make")
    sources = find_photos("photos").sources
    output = OutputFolder.of("maps", stems(sources))
    run = FolderRun(sources, model, make_methods(["grad-cam"]), choose_targets("top1", model), Settings(), output)
    worker = object.__new__(ExplainWorker)
    worker.job = ExplainOnRay(f"{NET}:make", "top1", Pool(1, 1, 1), SILENT).job(run)
    worker.ledger, worker.fault = None, None
    worker.prepare(model)
    pools = iter(range(100))

    class Losing(Stream):
        def tables(self, blocks: Iterable[arrow.Table]) -> Iterator[arrow.Table]:
            pool = next(pools)
            for at, block in enumerate(blocks):
                if pool < times and at == before:
                    raise ActorsLost("Ray gave up")
                yield worker.work(block, Begun())

    monkeypatch.setattr(explain_driver, "Stream", Losing)
    monkeypatch.setattr(explain_driver, "start_ledger", lambda job: RunningLedger(None, None))
    monkeypatch.setattr(PhotoWatch, "note", lambda self, photo: None)
    return run


@pytest.mark.parametrize(("times", "before"), [(2, 1), (2, 0)])
def test_what_lost_actors_left_is_explained_by_new_ones(
    shell: RayShell, monkeypatch: pytest.MonkeyPatch, times: int, before: int
) -> None:
    run = in_this_process(monkeypatch, times, before)
    found = list(ExplainOnRay(f"{NET}:make", "top1", Pool(1, 1, 1), SILENT, block=2).results(run, run.find()))
    assert [maps[0].record.image for maps in found if isinstance(maps, list)] == [source.path for source in run.sources]
    assert len(list(Path("maps").glob("*.json"))) == 7
