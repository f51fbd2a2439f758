"""`xaicli.explain`: what a classifier looked at, in memory or in a folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from xaicli.attribution import Attribution
from xaicli.claims import claim
from xaicli.errors import UsageError, XaiError
from xaicli.images.decode_limits import SECONDS
from xaicli.images.figure import DPI, WIDTH_CM, claim_figure
from xaicli.images.names import stems
from xaicli.images.overlay import ALPHA, HEAT
from xaicli.images.samples import decides_pixels, parse_bands
from xaicli.method import AT_MOST, Method
from xaicli.metric import Metric
from xaicli.named_files import files_named
from xaicli.progress import SILENT, Progress
from xaicli.registry import make_metrics
from xaicli.runs.explained_photos import COLUMNS, Explanations, OnDisk, row_of
from xaicli.runs.explaining_told import SHEET, cost_of, summarise
from xaicli.runs.find_photos import FoundPhotos, Photos
from xaicli.runs.folder import FolderRun
from xaicli.runs.kept_rows import KeptRows
from xaicli.runs.link_pictures import LinkPictures
from xaicli.runs.map_texts import MapTexts
from xaicli.runs.open_model import Model
from xaicli.runs.output import Complete, OutputFolder
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.runs.photo_maps import explain_photos
from xaicli.runs.photos import Failure
from xaicli.runs.records import branches_left_out
from xaicli.runs.request import RunRequest, list_metrics
from xaicli.runs.sheet_pictures import draw_sheet, redraw
from xaicli.runs.similar_target import compared
from xaicli.runs.step_pictures import StepPictures
from xaicli.runs.target_choice import choose_targets
from xaicli.runs.workplace import ClusterWords, Explaining
from xaicli.runs.written_map import WrittenMap
from xaicli.suitability import require_fit

SCORES = ("deletion", "insertion")
"""The metrics of `score` if none are named."""
FILES = ("map", "array", "record", "facts")
"""The entries of a row that name files."""


def explain(
    images: Photos,
    classifier: Model = None,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    target: str | int = "top1",
    seed: int = 0,
    score: bool = False,
    metric: str | Metric | Sequence[str | Metric] | None = None,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    frames: int | str | None = None,
    frame_step: int | None = None,
    background: str | tuple[int, int, int] = "white",
    decode_timeout: float = SECONDS,
    output: str | Path | None = None,
    scale: str = "image",
    colormap: str | None = None,
    alpha: float = ALPHA,
    look: str = HEAT,
    bands: str | Sequence[int] = (),
    sheet: bool = False,
    steps: bool = False,
    animate: str | None = None,
    step_scale: str = "common",
    links: bool = False,
    text: bool = False,
    facts: bool = False,
    figure: str | Path | None = None,
    figure_width: float = WIDTH_CM,
    dpi: int = DPI,
    overwrite: bool = False,
    ray: str | None = None,
    actors: int | None = None,
    block: int | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    command: str = "",
    progress: Progress = SILENT,
) -> Explanations:
    """Explain photos: an `Attribution` for each photo, method and target, in that order.

    images: one photo or several, paths as on the command line or pictures in memory; classifier: loaded, a specification such as
    "resnet50", or a function that loads one; method: a specification such as "rise@n_masks=2000", a method, or several, by
    default what measured best on a bundled network, else grad-cam, or rise for a black box; target: "top1", "top5", a class index
    or name, "A-B". frames: how many frames of a sequence the network reads, or "all", one of `frame_step` from `frame` on; the
    frames of one folder, pictures in memory, and an array (T, H, W, C) are then one sequence.

    output: a folder, or a URL of fsspec, for maps, overlays and records, as `xai explain` writes them; complete results there are
    not made again. None: everything stays in memory, and what needs a folder (`score`, `metric`, `sheet`, `steps`, `animate`,
    `links`, `text`, `facts`) is refused. look: "heat", "grey" or "contour"; bands: those that are drawn as red, green and blue,
    "3+2+1"; text: a sentence of each map, with what blurring its most salient tenth does to the probability; facts: the same as
    JSON, `STEM.facts.json`; figure: a contact sheet as .pdf, .svg or .png, figure_width centimetres wide. batch_size: inputs per
    pass; ray, actors, block: as in `xaicli.score`, with a folder that all workers see; dry_run: make nothing, and say what would
    be made; command: recorded beside the results. Raises XaiError at the first photo that cannot be used, unless `keep_going`;
    its `partial` is what was finished before.

        [attribution] = xaicli.explain("cat.jpg", "resnet50", "grad-cam")
    """
    request, inputs, cluster = RunRequest.of(locals()), files_named(locals()), ClusterWords.of(locals())
    cluster.check()
    request.check()
    scored_by = SCORES if score and metric is None else metric
    metrics = [] if scored_by is None else list_metrics(scored_by)
    style = OverlayStyle(colormap, alpha, look=look, bands=parse_bands(bands))
    style.check()
    step_pictures = StepPictures(steps, animate, step_scale == "each")
    link_pictures = LinkPictures(links)
    found = request.photos
    inputs += [source.file for source in found.sources if source.file is not None]
    if figure is not None:
        claim_figure(Path(figure), inputs, overwrite=overwrite)
    model, aim = compared(request.open(classifier, progress), target, progress)
    methods = request.methods_for(model, progress)
    step_pictures.check(methods, of_frames=bool(model.view.frames))
    link_pictures.check(methods)
    texts = MapTexts(text, facts, overwrite)
    if model.view.frames and (text or facts):
        raise UsageError("a sentence of a sequence", expected="one of a photo", hint="Leave --text and --facts out.")
    sources = request.sources_for(model)
    run = FolderRun(
        sources=sources,
        classifier=model,
        methods=methods,
        targets=choose_targets(aim, model, sources),
        settings=replace(request.settings, bands=style.bands),
        output=OutputFolder.of(output, stems(sources)),
        style=style,
        overwrite=overwrite,
        keep_going=keep_going,
        metrics=[*metrics, *make_metrics(texts.metrics(model))],
        step_pictures=step_pictures,
        link_pictures=link_pictures,
        shared=scale == "shared",
        sheet=sheet,
        inputs=inputs,
    )
    if dry_run:
        run.check_metrics()
        with run.output.named():
            return dry(run, run.find() if output else Complete(), progress)
    if output is None:
        refuse_files(run.metrics, sheet=sheet, steps=steps, animate=animate, links=links, text=text, facts=facts, ray=ray)
        made = in_memory(run, found.errors)
    else:
        with run.output.named(), cluster.explaining(classifier, target, progress) as explaining:
            made = in_folder(run, found, progress, texts, explaining)
    if figure is not None and made:
        progress.say(f"figure {made.figure(figure, width_cm=figure_width, dpi=dpi, look=look)}")
    return finished(made, keep_going)


def dry(run: FolderRun, complete: Complete, progress: Progress) -> Explanations:
    """What would be done, one record per method."""
    rows = []
    for method in run.methods:
        done = sum(complete.has(source, method) for source in run.sources)
        cost = run.cost()[method.label]
        missing = len(run.sources) - done
        rows.append(
            {
                "method": method.label,
                "photos": len(run.sources),
                "complete": done,
                "to do": missing,
                "passes per photo": str(cost).removesuffix(" passes"),
                "passes": f"{AT_MOST if cost.at_most else ''}{missing * (cost.forward + cost.backward):g}",
            }
        )
        progress.row(rows[-1])
    return Explanations((), rows, tuple(rows[0]))


def refuse_files(metrics: Sequence[Metric], **files: Any) -> None:
    """Raise UsageError if something is asked for that needs an output folder."""
    asked = [name for name, value in files.items() if value] + ["metric"] * bool(metrics)
    if asked:
        raise UsageError(f"{asked[0]} without a folder", expected="output=FOLDER", hint="To score photos alone: xaicli.score.")


def in_memory(run: FolderRun, lost: Iterable[XaiError]) -> Explanations:
    """The attributions of a run, without writing files."""
    for one in run.methods:
        require_fit(one, run.classifier)
    made: list[Attribution] = []
    errors = list(lost)
    for result in explain_photos(run.sources, run.classifier, run.methods, run.targets, run.settings):
        if isinstance(result, Failure):
            errors.append(result.error)
            if not run.keep_going:
                break
            continue
        made += [attribution for one in run.methods for attribution in result.made[one.label]]
    return finished(
        Explanations(made, [row_of(attribution.record) for attribution in made], errors=tuple(errors)), run.keep_going
    )


def in_folder(
    run: FolderRun, photos: FoundPhotos, progress: Progress, texts: MapTexts, explaining: Explaining = FolderRun.run
) -> Explanations:
    """Make what is missing in the folder, then the pictures that need all maps; say how it went."""
    start = time.monotonic()
    run.check_metrics()
    if run.sheet:
        claim(run.output.folder / SHEET, run.inputs, overwrite=run.overwrite)
    complete = run.find()
    run.check()
    progress.say(cost_of(run))
    errors = list(photos.errors)
    for error in errors:
        progress.warn(error.found)
    done: list[WrittenMap] = []
    rows = KeptRows()
    # The first two photos with a note of how they became pixels: enough to name one, or to say that there are more.
    noted: dict[str, str] = {}
    with closing(explaining(run, complete)) as results:
        for result in progress.track(results, "explaining", len(run.sources)):
            if isinstance(result, Failure):
                errors.append(result.error)
                if run.keep_going:
                    progress.warn(result.error.found)
                continue
            for written in result:
                if run.shared or run.sheet or texts.wanted:
                    run.output.fetch(written.stem, written.record)
                row = row_of(written.record, written) | texts.of(written)
                row |= {name: run.output.shown(row[name]) for name in FILES if name in row}
                rows.append(row)
                if len(noted) < 2 and (told := list(filter(decides_pixels, written.record.notes))):
                    noted[written.record.image] = "; ".join(told)
                progress.row(row)
                done.append(written.told())
    if run.shared:
        redraw(run, done)
    if run.sheet and done:
        draw_sheet(run, done, run.output.folder / SHEET)
    if run.output.remote is not None:
        run.output.remote.send_rest()
    summarise(run, done, noted, errors, time.monotonic() - start, progress)
    if any(not written.kept for written in done):
        left_out = (note for method in run.methods for note in branches_left_out(method, run.classifier))
        for note in dict.fromkeys(left_out):
            progress.warn(note)
    table = texts.COLUMNS if texts.text else (*COLUMNS, *(metric.label for metric in run.metrics), "map")
    return Explanations(OnDisk(run, done), rows, table, tuple(errors))


def finished(result: Explanations, keep_going: bool) -> Explanations:
    """The result; without `keep_going`, the first error is raised, with the result as its `partial`."""
    if result.errors and not keep_going:
        error = result.errors[0]
        error.partial = result
        raise error
    return result
