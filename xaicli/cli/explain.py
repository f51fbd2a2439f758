"""`xai explain`: heatmaps of photos."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.options import complete_definition, find_sources, image_options, model_options, open_classifier, option
from xaicli.cli.printing import FORMATS, print_line, print_rows
from xaicli.cli.progress import progress_bar
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count, span
from xaicli.errors import XaiError

if TYPE_CHECKING:
    from xaicli.images.source import Source
    from xaicli.metric import Metric
    from xaicli.runs.folder import FolderRun, Written
    from xaicli.runs.output import Found
    from xaicli.runs.step_pictures import StepPictures

COLUMNS = ["image", "decision", "p", "method", "map"]

EXAMPLES = """
xai explain sample:hopper
xai explain photos/ --model resnet50 --method grad-cam,rise@n_masks=2000 --sheet
xai explain cat.jpg --method grad-cam --target tabby-tiger_cat -o maps/
xai explain cat.jpg --model timm:deit_tiny_patch16_224 --method daam --steps --animate gif
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="draw what a classifier looked at")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@option(
    "Explanation",
    "--method",
    multiple=True,
    metavar="SPEC[,SPEC]",
    shell_complete=complete_definition("method"),
    help="Methods with their parameters: rise@n_masks=2000 (xai list methods).  "
    "[default: lfi-cam where the network has it, else grad-cam; rise for a black box]",
)
@option(
    "Explanation",
    "--target",
    default="top1",
    metavar="TARGET",
    help="top1, top5, an index, a class name, A-B (why A and not B), @FILE.csv.",
)
@option("Explanation", "--seed", type=click.IntRange(min=0), default=0, help="Seed of methods that draw random numbers.")
@option("Explanation", "--score", is_flag=True, help="Score the maps too: deletion and insertion, or --metric.")
@option(
    "Explanation",
    "--metric",
    multiple=True,
    metavar="SPEC[,SPEC]",
    shell_complete=complete_definition("metric"),
    help="Metrics to score the maps with (xai list metrics); implies --score.",
)
@image_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    default="xai-out",
    metavar="DIR",
    help="Folder for maps (.npy), overlays (.png) and records (.json).",
)
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="table", help="What stdout shows.")
@option(
    "Output",
    "--scale",
    type=click.Choice(["image", "shared"]),
    default="image",
    help="Colours scaled by each map, or by all maps of a method.",
)
@option("Output", "--colormap", metavar="NAME", help="A matplotlib colour map.  [default: inferno; diverging for signed maps]")
@option("Output", "--alpha", type=click.FloatRange(0, 1), default=0.75, help="Opacity of the strongest colour.")
@option("Output", "--sheet", is_flag=True, help="Also one contact sheet of all, sheet.png.")
@option("Output", "--steps", is_flag=True, help="Also a strip of each map's steps: daam's, block by block.")
@option("Output", "--animate", type=click.Choice(["gif", "webp"]), help="Also a moving picture of the steps.")
@option(
    "Output",
    "--step-scale",
    type=click.Choice(["common", "each"]),
    default="common",
    help="Colours of steps scaled by all of them, or by each, as daam's authors show them.",
)
@option("Output", "--overwrite", is_flag=True, help="Make all again, and replace other results.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@option("Running", "--dry-run", is_flag=True, help="Say what would be done, and its cost.")
@option("Running", "--batch-size", type=click.IntRange(min=1), metavar="N", help="Photos a batch.  [default: automatic]")
@verbosity_options
def command(images: tuple[str, ...], **given: Any) -> int:
    """Explain what a classifier looked at, as heatmaps over the photos.

    IMAGE is a file, a folder, a glob, @list.txt, - for paths on standard input, or sample:hopper. Writes for each photo and
    method the raw map (.npy), an overlay on the photo (.png) and a record (.json). Running again makes only what is missing.
    """
    sources, lost = find_sources(images, given)
    run = plan(sources, given)
    metrics = wanted_metrics(run, given)
    found = run.find()
    if given["dry_run"]:
        return dry_run(run, found, given["form"])
    run.check()
    return carry_out(run, found, lost, metrics, given)


def wanted_metrics(run: FolderRun, given: dict[str, Any]) -> list[Metric]:
    """The metrics of --score or --metric, held against the methods before any work."""
    if not (given["score"] or given["metric"]):
        return []
    from xaicli.registry import make_metrics
    from xaicli.runs.score_folder import check

    metrics = make_metrics(given["metric"] or ["deletion,insertion"])
    check(run, metrics)
    return metrics


def plan(sources: list[Source], given: dict[str, Any]) -> FolderRun:
    """Read the command line into a run."""
    from xaicli.images.names import stems
    from xaicli.registry import make_methods
    from xaicli.runs.default_method import default_method
    from xaicli.runs.folder import FolderRun
    from xaicli.runs.look import Look
    from xaicli.runs.output import OutputFolder
    from xaicli.runs.settings import Settings
    from xaicli.runs.target_choice import choose_targets

    methods = make_methods(given["method"])
    look = Look(given["colormap"], given["alpha"])
    look.check()
    classifier = open_classifier(given)
    if not methods:
        methods = make_methods([default_method(classifier, given["target"])])
        Verbosity.current().say(f"method {methods[0].label} (others: --method, xai list methods)")
    step_pictures(given).check(methods)
    classifier = replace(classifier, batch_size=given["batch_size"]) if given["batch_size"] else classifier
    settings = Settings(
        seed=given["seed"],
        precision=given["precision"],
        batch_size=given["batch_size"],
        background=given["background"],
        command=command_line(),
    )
    output = OutputFolder(Path(given["output"]), stems(sources))
    targets = choose_targets(given["target"], classifier, sources)
    return FolderRun(sources, classifier, methods, targets, settings, output, look, given["overwrite"], given["keep_going"])


def dry_run(run: FolderRun, found: Found, form: str) -> int:
    """What would be done, a line a method."""
    rows = []
    for method in run.methods:
        complete = sum(found.has(source, method) for source in run.sources)
        cost = run.cost()[method.label]
        missing = len(run.sources) - complete
        rows.append(
            {
                "method": method.label,
                "photos": len(run.sources),
                "complete": complete,
                "to do": missing,
                "passes a photo": str(cost).removesuffix(" passes"),
                "passes": f"{missing * (cost.forward + cost.backward):g}",
            }
        )
    print_rows(rows, form)
    return 0


def carry_out(run: FolderRun, found: Found, lost: list[XaiError], metrics: list[Metric], given: dict[str, Any]) -> int:
    """Run, print rows, and say how it went; returns the exit code."""
    verbosity, start = Verbosity.current(), time.monotonic()
    costs = ", ".join(f"{label} {str(cost).removesuffix(' passes')}" for label, cost in run.cost().items())
    verbosity.say(f"{costs} {'pass' if costs.endswith(' 1') else 'passes'} a photo")
    rows: list[dict[str, Any]] = []
    done: list[Written] = []
    errors = list(lost)
    for error in lost:
        verbosity.warn(error.found)
    results = run.run(found)
    for result in progress_bar(results, len(run.sources), "explaining", batch=run.batch_size):
        if isinstance(result, list):
            result = with_scores(run, result, metrics)
            done += result
            for written in result:
                rows.append(row_of(written))
                if given["form"] == "jsonl":
                    print_line(rows[-1])
            continue
        errors.append(result.error)
        if run.keep_going:
            verbosity.warn(result.error.found)
    close(results)
    finish(run, done, given)
    if given["form"] != "jsonl":
        print_rows(rows, given["form"], COLUMNS[:-1] + [metric.label for metric in metrics] + COLUMNS[-1:])
    summarise(run, done, errors, time.monotonic() - start, given)
    if errors and not run.keep_going:
        raise errors[0]
    return 4 if errors else 0


def with_scores(run: FolderRun, written: list[Written], metrics: list[Metric]) -> list[Written]:
    if not metrics:
        return written
    from xaicli.runs.score_folder import score_written

    return score_written(run, written, metrics)


def close(results: Iterator[Any]) -> None:
    """End a generator now, so that what it was writing is on disk before anything is said."""
    getattr(results, "close", lambda: None)()


def finish(run: FolderRun, done: list[Written], given: dict[str, Any]) -> None:
    """What needs all maps: overlays on one scale, overlays in another look, the contact sheet; and the pictures of steps."""
    from xaicli.runs.pictures import draw_sheet, redraw

    redraw(run, done, shared=given["scale"] == "shared")
    if given["sheet"] and done:
        draw_sheet(run, done, run.output.folder / "sheet.png", shared=given["scale"] == "shared")
    step_pictures(given).draw(run, done)


def step_pictures(given: dict[str, Any]) -> StepPictures:
    from xaicli.runs.step_pictures import StepPictures

    return StepPictures(given["steps"], given["animate"], given["step_scale"] == "each")


def row_of(written: Written) -> dict[str, Any]:
    record = written.record
    row = {
        "image": record.image,
        "decision": record.decision.name,
        "p": record.decision.probability,
        "method": record.method,
        "map": written.picture,
        "target": record.target,
        "target_name": record.target_name,
        "target_probability": record.target_probability,
        "status": record.status,
        "array": f"{written.stem}.npy",
        "record": f"{written.stem}.json",
        "definition": record.definition,
        "subject": record.subject,
        "seed": record.seed,
    }
    row |= record.scores
    if record.status != "ok":
        row["map"] = f"{written.picture} ({record.status})"
    return row


def summarise(run: FolderRun, done: list[Written], errors: list[XaiError], seconds: float, given: dict[str, Any]) -> None:
    verbosity = Verbosity.current()
    photos = len({written.source for written in done})
    kept = sum(written.kept for written in done)
    parts = [f"{count(photos, 'photo')} x {count(len(run.methods), 'method')} in {span(seconds)}"]
    if kept:
        parts.append(f"{kept} of {count(len(done), 'map')} complete before (--overwrite makes them again)")
    if errors:
        parts.append(f"{count(len(errors), 'photo')} failed")
    parts.append(
        f"sheet {run.output.folder / 'sheet.png'}" if given["sheet"] else f"maps, overlays and records in {run.output.folder}/"
    )
    verbosity.say("; ".join(parts))
    odd = [written for written in done if written.record.status != "ok"]
    if odd:
        verbosity.warn(
            f"{count(len(odd), 'map')} not usable: " + ", ".join(f"{w.stem.name} is {w.record.status}" for w in odd[:3])
        )
