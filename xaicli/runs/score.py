"""`xaicli.score`: numbers for heatmaps, in a store or in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from xaicli.claims import refuse_no_store
from xaicli.errors import UsageError, XaiError
from xaicli.files import refuse_url
from xaicli.images.decode_limits import SECONDS
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.progress import SILENT, Progress
from xaicli.results.connection import cannot_open
from xaicli.results.store import Store
from xaicli.results.summary import Group
from xaicli.runs.bounds import Given, failures_of, read_bounds
from xaicli.runs.estimate import estimate_of
from xaicli.runs.find_photos import Photos
from xaicli.runs.open_model import Model
from xaicli.runs.passes_needed import passes_in_words, plan_of
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ALL_CONTROLS, METRICS, ScoreRequest
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.score_table import ScoreTable, groups_of
from xaicli.runs.workplace import ClusterWords, Keeping, Workplace, Written
from xaicli.untrusted import is_folder
from xaicli.words import count, span

if TYPE_CHECKING:
    from xaicli.results.parquet_folder import ParquetFolder


LARGEST_TABLE = 2_000_000
"""Rows in a folder of Parquet files for which the means are still worked out at the end of a run: some minutes."""


def score(
    images: Photos,
    classifier: Model = None,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    metric: str | Metric | Sequence[str | Metric] | None = METRICS,
    target: str | int = "top1",
    seed: int = 0,
    controls: str | Sequence[str] | bool = ALL_CONTROLS,
    truth: str | Path | None = None,
    truth_classes: str | Path | None = None,
    maps: str | Path | None = None,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    frames: int | str | None = None,
    frame_step: int | None = None,
    background: str | tuple[int, int, int] = "white",
    decode_timeout: float = SECONDS,
    output: str | Path | None = None,
    curves: bool = True,
    keep_maps: bool = True,
    fail_under: Given = (),
    fail_over: Given = (),
    shard: str | None = None,
    ray: str | None = None,
    actors: int | None = None,
    block: int | None = None,
    sink: str | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    estimate: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    command: str = "",
    progress: Progress = SILENT,
) -> ScoreTable:
    """Score the heatmaps of photos by deletion and insertion, or any metrics, and compare them with controls.

    images, classifier, method, target: as in `xaicli.explain`; metric: specifications or metrics; controls: which of "random",
    "center" and "other" to compare each method with, False for none; truth: masks, COCO JSON, YOLO polygons or boxes;
    truth_classes: a CSV of its labels and the model's classes; maps: a folder of another program's maps, instead of methods.

    output: a store (SQLite) that keeps the rows, so that running again does only what is missing; curves, keep_maps: whether it
    keeps the curves of scores, and small maps for `xaicli.report`; fail_under, fail_over: bounds such as {"insertion": 0.5} on
    the lower and the upper end of each method's interval, see `failed`; shard: "I/N", the I-th of N parts of the photos; ray:
    "auto", "local" or "HOST:PORT", a Ray cluster whose actors score, `actors` of them, `block` photos at a time; sink:
    "parquet:DIR", a folder into which these write the rows themselves, instead of `output`; dry_run: score nothing, and say how
    many passes it would take; estimate: score a few photos, keep nothing, and say how long all would take; batch_size: inputs per
    pass. Raises XaiError at the first photo that cannot be used, unless `keep_going`; its `partial` is what was finished before.
    If a Ray cluster goes down, Ray may end the whole Python program with exit code 1; `xai score --ray` ends with a line instead.

        print(xaicli.score("photos/", "resnet50", ["grad-cam", "rise"], metric=["insertion"]))
    """
    request, cluster = ScoreRequest.of(locals()), ClusterWords.of(locals())
    cluster.check()
    request.check()
    refuse_both(sink, output, fail_under, fail_over)
    bounds = read_bounds(fail_under, fail_over, [one.label for one in request.metrics])
    run = request.run(classifier, progress=progress)
    if dry_run:
        return plan_of([run], None if output is None else Path(output), progress)
    if estimate:
        with cluster.measured(classifier, progress) as (count_of, threads_each):
            return estimate_of(run, None if output is None else Path(output), count_of, threads_each, progress)
    if (folder := cluster.folder()) is not None:
        with cluster.workplace(classifier, target, progress) as workplace:
            failed = carry_out(run, folder, request.photos.errors, progress, workplace)
        return finished(ScoreTable((run,), folder.path, tuple(means_of(run, folder, progress)), tuple(failed)), keep_going)
    if output is not None:
        refuse_url(Path(output))
        refuse_no_store(Path(output))
        if not is_folder(Path(output).parent):
            raise cannot_open(Path(output))
    store = Store.in_memory() if output is None else Store.open(output, curves=curves, maps=keep_maps, late=True)
    try:
        with cluster.workplace(classifier, target, progress) as workplace:
            errors = carry_out(run, store, request.photos.errors, progress, workplace)
        groups = groups_of(run, store)
    finally:
        if store.is_made:
            store.close()
    kept = Path(output) if output is not None and store.is_made else store
    return finished(ScoreTable((run,), kept, tuple(groups), tuple(errors), tuple(failures_of(groups, bounds))), keep_going)


def means_of(run: ScoreRun, folder: ParquetFolder, progress: Progress) -> list[Group]:
    """The means over the rows in a folder; none, and a line that says so, where reading all would take long."""
    if not folder.is_made:
        return []
    if (rows := folder.count_rows()) > LARGEST_TABLE:
        progress.say(f"no table of {count(rows, 'row')}, which would take long: xai report {folder.path}")
        return []
    with Store.open(folder.path, write=False) as store:
        return groups_of(run, store)


def refuse_both(sink: str | None, output: str | Path | None, *bounds: Given) -> None:
    """Raise UsageError for a sink beside what needs a store."""
    if sink is not None and (output is not None or any(bounds)):
        other = "-o" if output is not None else "a bound"
        raise UsageError(f"--sink and {other} are both given", hint="Merge the folder first: xai merge DIR -o all.db.")


def carry_out(
    run: ScoreRun, store: Keeping, lost: Sequence[XaiError], progress: Progress, workplace: Workplace = Workplace()
) -> list[XaiError]:
    """Score what is missing in the store, and say how it went; returns the errors."""
    start, errors = time.monotonic(), list(lost)
    for error in lost:
        progress.warn(error.found)
    todo, rows = len(run.incomplete(store, run.sources)), 0
    if todo:
        progress.say(passes_in_words(run))
    with closing(workplace.results(run, store)) as results, progress.task("scoring", todo) as step:
        for result in results:
            step(note=workplace.note())
            if isinstance(result, Failure):
                errors.append(result.error)
                if run.keep_going:
                    progress.warn(result.error.found)
                continue
            if isinstance(result, Written):
                rows += result.rows
                continue
            rows += len(result)
            for row in result:
                progress.row(row.record())
    parts = [f"{count(rows, 'row')} of {count(todo, 'photo')} in {span(time.monotonic() - start)}"]
    if before := len(run.sources) - todo:
        parts.append(f"{count(before, 'photo')} complete before")
    if errors:
        parts.append(f"{count(len(errors), 'photo')} failed")
    if store.is_made:
        parts.append(f"all rows in {store.path} (xai report {store.path})")
    progress.say("; ".join(parts))
    return errors


def finished(result: ScoreTable, keep_going: bool) -> ScoreTable:
    """The result; without `keep_going`, the first error is raised, with the result as its `partial`."""
    if result.errors and not keep_going:
        error = result.errors[0]
        error.partial = result
        raise error
    return result
