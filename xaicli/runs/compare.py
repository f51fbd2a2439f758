"""`xaicli.compare`: methods side by side, with scores and conclusions from their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

from xaicli.claims import claim
from xaicli.errors import XaiError
from xaicli.files import require_writable
from xaicli.grammar import names_in, split
from xaicli.images.decode_limits import SECONDS
from xaicli.images.figure import DPI, WIDTH_CM, claim_figure
from xaicli.images.names import safe_label
from xaicli.images.samples import parse_bands
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.named_files import files_named
from xaicli.network.classifier import Classifier
from xaicli.params import fold
from xaicli.progress import SILENT, Progress
from xaicli.results.store import Store
from xaicli.results.summary import Group
from xaicli.runs.comparison_sheet import draw_comparison
from xaicli.runs.find_photos import Photos
from xaicli.runs.open_model import Model
from xaicli.runs.passes_needed import plan_of
from xaicli.runs.request import no_methods
from xaicli.runs.score import carry_out, finished
from xaicli.runs.score_request import ALL_CONTROLS, METRICS, ScoreRequest
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.score_table import ScoreTable, groups_of
from xaicli.runs.workplace import ClusterWords, Workplace
from xaicli.words import count

STORE, SHEET = "compare.db", "compare"
QUICK_LOOK = "@n_masks=auto"


def compare(
    images: Photos,
    classifier: Model | Sequence[Model] = None,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    metric: str | Metric | Sequence[str | Metric] | None = METRICS,
    target: str | int = "top1",
    seed: int = 0,
    controls: str | Sequence[str] | bool = ALL_CONTROLS,
    truth: str | Path | None = None,
    truth_classes: str | Path | None = None,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    frames: int | str | None = None,
    frame_step: int | None = None,
    background: str | tuple[int, int, int] = "white",
    decode_timeout: float = SECONDS,
    output: str | Path | None = None,
    bands: str | Sequence[int] = (),
    figure: str | Path | None = None,
    figure_width: float = WIDTH_CM,
    figure_columns: int = 2,
    dpi: int = DPI,
    ray: str | None = None,
    actors: int | None = None,
    block: int | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    command: str = "",
    progress: Progress = SILENT,
) -> ScoreTable:
    """Compare methods: a table of means with paired differences, and a contact sheet with scores under each map.

    classifier: one or several; each gets a table and a sheet of the methods that run on it. output: a folder for compare.png and
    compare.db, which keeps the rows so that running again does only what is missing; None: rows stay in memory and no sheet is
    drawn. bands: those of a photo that are drawn, "3+2+1"; figure: a .pdf, .svg or .png of the mean curves, figure_width
    centimetres wide, panels in figure_columns. All other parameters are as in `xaicli.score`.

        print(xaicli.compare("photos/", "tiny", ["grad-cam", "rise@n_masks=500"], output="xai-out"))
    """
    method = quick_looks(method, progress)
    request, inputs, cluster = ScoreRequest.of(locals()), files_named(locals()), ClusterWords.of(locals())
    cluster.check()
    request.check()
    shown = parse_bands(bands)
    inputs += [source.file for source in request.photos.sources if source.file is not None]
    if figure is not None:
        claim_figure(Path(figure), inputs)
    if not request.methods:
        raise no_methods()
    models = models_of(classifier)
    runs = [request.run(model, progress=progress, leave_out=len(models) > 1) for model in models]
    runs = [replace(run, settings=replace(run.settings, bands=shown)) for run in runs]
    places = [partial(cluster.workplace, model, target, progress) for model in models]
    folder = None if output is None else Path(output)
    if dry_run:
        return plan_of(runs, folder and folder / STORE, progress)
    if folder is None:
        store = Store.in_memory()
        table = replace(scored(runs, places, store, None, request, progress), store=store)
        draw_curves(table, figure, figure_width, figure_columns, dpi, progress)
        return finished(table, keep_going)
    for run in runs:
        claim(sheet_path(folder, run, runs), inputs)
    require_writable(folder)
    opened = Store.open(folder / STORE, late=True)
    try:
        table = scored(runs, places, opened, folder, request, progress)
    finally:
        if opened.is_made:
            opened.close()
    table = replace(table, store=folder / STORE) if opened.is_made else table
    draw_curves(table, figure, figure_width, figure_columns, dpi, progress)
    return finished(table, keep_going)


def draw_curves(
    table: ScoreTable, figure: str | Path | None, width_cm: float, columns: int, dpi: int, progress: Progress
) -> None:
    """Draw the figure that was asked for, if there are scores, and say where it is."""
    if figure is not None and table.groups:
        table.figure(figure, width_cm=width_cm, columns=columns, dpi=dpi)
        progress.say(f"figure {figure}")


def quick_looks(
    method: str | Method | Sequence[str | Method] | None, progress: Progress
) -> str | Method | list[str | Method] | None:
    """The named methods; `rise` without a number of masks draws as many as its error needs, which is then reported."""
    if method is None or isinstance(method, Method | type):
        return method
    given: list[str | Method] = [
        spec if isinstance(one, str) else one
        for one in ([method] if isinstance(method, str) else method)
        for spec in (split(one, ",") if isinstance(one, str) else [""])
    ]
    named = [with_quick_look(one) if isinstance(one, str) else one for one in given]
    if named != given:
        progress.say(f"rise{QUICK_LOOK}: masks until the map's estimated error is 0.3, at most 4000 (rise@n_masks=N for N)")
    return named


def with_quick_look(spec: str) -> str:
    """`rise` with `n_masks=auto`, unless it says how many masks it takes; every other specification as it is, and so one that
    cannot be read."""
    name, *given = (part.strip() for part in split(spec, "@"))
    counted = any(fold(part.partition("=")[0]) in ("nmasks", "preset", "tol") for part in given)
    whole = all(part.find("=") > 0 for part in given)
    return f"{spec}{QUICK_LOOK}" if fold(name) == "rise" and whole and not counted else spec


def models_of(given: Model | Sequence[Model]) -> list[Model]:
    """The named models, each once."""
    if isinstance(given, str):
        return list(dict.fromkeys(names_in(given, "--model")))
    if given is None or isinstance(given, Classifier | Path) or callable(given):
        return [given]
    return list(given)


def scored(
    runs: Sequence[ScoreRun],
    places: Sequence[Callable[[], AbstractContextManager[Workplace]]],
    store: Store,
    folder: Path | None,
    request: ScoreRequest,
    progress: Progress,
) -> ScoreTable:
    """Score what the store lacks, model by model, each in its place, and draw the sheets."""
    groups: list[Group] = []
    errors: list[XaiError] = list(request.photos.errors)
    sheets: list[Path] = []
    for run, place in zip(runs, places, strict=True):
        with place() as workplace:
            failed = carry_out(run, store, request.photos.errors if run is runs[0] else (), progress, workplace)
        errors += [error for error in failed if error not in errors]
        groups += groups_of(run, store)
        if folder is not None:
            sheets += drawn(run, store, sheet_path(folder, run, runs), len(failed), progress)
        if failed and not run.keep_going:
            break
    return ScoreTable(tuple(runs), store, tuple(groups), tuple(errors), (), tuple(sheets))


def sheet_path(folder: Path, run: ScoreRun, runs: Sequence[ScoreRun]) -> Path:
    """The path of a model's sheet."""
    name = SHEET if len(runs) == 1 else f"{SHEET}.{safe_label(run.classifier.name)}"
    return folder / f"{name}.png"


def drawn(run: ScoreRun, store: Store, sheet: Path, failed: int, progress: Progress) -> list[Path]:
    """Draw the sheet of a run and say where it is; returns its path, or nothing if there is nothing to draw."""
    on_sheet = draw_comparison(run, store, sheet)
    if not on_sheet:
        return []
    rest = f" (the first {count(on_sheet, 'photo')})" if on_sheet < len(run.sources) - failed else ""
    progress.say(f"sheet {sheet}{rest}")
    return [sheet]
