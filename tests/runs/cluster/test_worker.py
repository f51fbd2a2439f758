"""A worker that finds another checkpoint than the driver: its results are not taken for those of the driver's."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
from ray_shell import RayShell

pytest.importorskip("ray")

from xaicli.images.names import stems
from xaicli.models.checkpoint import BUNDLED, checkpoints_folder, read_metadata, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.progress import SILENT
from xaicli.registry import make_methods
from xaicli.results.row_table import read_error
from xaicli.results.store import Store
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.blocks import Block, blocks_of
from xaicli.runs.cluster.explain_driver import ExplainOnRay
from xaicli.runs.cluster.explain_worker import ExplainWorker, photos_of
from xaicli.runs.cluster.ledger import Begun
from xaicli.runs.cluster.score_driver import ScoreOnRay
from xaicli.runs.cluster.score_worker import ScoreWorker
from xaicli.runs.find_photos import find_photos
from xaicli.runs.folder import FolderRun
from xaicli.runs.output import OutputFolder
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import choose_targets

OTHER = "t-tame is another than at the driver"
POOL = Pool(1, 1, 1)


def install() -> None:
    """Another head of t-tame for `tiny`, as on a machine where somebody trained one."""
    head = BUNDLED / "tiny.t-tame.safetensors"
    tensors = {
        name: tensor / 2 if tensor.is_floating_point() else tensor for name, tensor in safetensors.torch.load_file(head).items()
    }
    write_checkpoint(checkpoints_folder() / "mine.safetensors", tensors, read_metadata(head))


def test_scores_of_another_head_are_no_rows_of_the_run(shell: RayShell) -> None:
    run = ScoreRequest(images="photos", method="t-tame", metric="insertion@steps=2").run("tiny")
    worker = object.__new__(ScoreWorker)
    worker.job = ScoreOnRay(run, "tiny", "top1", POOL, SILENT).job(None)
    worker.ledger, worker.fault = None, None
    worker.prepare(run.classifier)
    with Store.in_memory() as store:
        [table, *_] = blocks_of(run, run.sources, run.missing(store, run.sources), 2, 1)
    install()
    for photo in worker.results(Block.read(table), Begun()):
        assert photo.error is not None
        assert OTHER in photo.error.found
        assert not photo.rows


def test_maps_of_another_head_are_not_written(shell: RayShell) -> None:
    model, sources = load_classifier("tiny"), find_photos("photos").sources
    output = OutputFolder.of("maps", stems(sources))
    run = FolderRun(sources, model, make_methods(["t-tame"]), choose_targets("top1", model), Settings(), output)
    worker = object.__new__(ExplainWorker)
    worker.job = ExplainOnRay("tiny", "top1", POOL, SILENT).job(run)
    worker.ledger, worker.fault = None, None
    worker.prepare(model)
    install()
    for record in worker.work(photos_of(run, sources), Begun()).to_pylist():
        assert OTHER in read_error(record["error"]).found
    assert not list(Path("maps").glob("*"))
