"""`xai score`: numbers for heatmaps, into a store."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xaicli.cli.command_line import command_line
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.options import PhotoOptions, batch_size_option, complete_definition, image_options, model_options, option, stack
from xaicli.cli.printing import print_line
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.errors import UsageError, XaiError
from xaicli.words import count, span

if TYPE_CHECKING:
    from xaicli.method import Method
    from xaicli.network.classifier import Classifier
    from xaicli.results.store import Store
    from xaicli.results.summary import Group
    from xaicli.runs.score import ScoreRun

EXAMPLES = """
xai score photos/ --model resnet50 --method grad-cam,rise@n_masks=2000 -o scores.db
xai score @val.txt --method grad-cam --metric deletion,insertion,average-drop@area=50@mask=binary -o scores.db
xai score photos/ --method grad-cam --fail-under insertion=0.5
"""

FORMATS = ("table", "json", "jsonl", "csv", "md")
DEFAULT_METRICS = ("deletion,insertion",)

score_options = stack(
    option(
        "Scores",
        "--method",
        multiple=True,
        metavar="SPEC[,SPEC]",
        shell_complete=complete_definition("method"),
        help="Methods with their parameters (xai list methods).  [default: grad-cam; rise for a black box]",
    ),
    option(
        "Scores",
        "--metric",
        multiple=True,
        default=DEFAULT_METRICS,
        metavar="SPEC[,SPEC]",
        shell_complete=complete_definition("metric"),
        help="Metrics with their parameters (xai list metrics).",
    ),
    option("Scores", "--target", default="top1", metavar="TARGET", help="top1, an index, a class name, A-B, @FILE.csv."),
    option("Scores", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers."),
    option("Scores", "--controls/--no-controls", default=True, help="Score random, center and other beside each method."),
    option("Scores", "--truth", metavar="DIR", help="Ground truth: masks as PNG, COCO JSON, YOLO polygons, or boxes."),
    option("Scores", "--truth-classes", metavar="FILE", help="CSV of annotation labels and the model's classes."),
)


@click.command(cls=Command, examples=EXAMPLES, short_help="score heatmaps of many photos into a store")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@score_options
@option(
    "Scores", "--maps", metavar="DIR", help="Score maps that another program wrote: STEM.npy, or STEM.LABEL.npy, for each photo."
)
@image_options
@model_options
@option(
    "Output",
    "-o",
    "--output",
    metavar="FILE.db",
    help="The store; running again does only what is missing.  [default: none, stdout alone]",
)
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="table", help="What stdout shows; jsonl streams rows.")
@option("Output", "--no-curves", is_flag=True, help="Do not keep the curves under the scores.")
@option("Output", "--no-maps", is_flag=True, help="Do not keep small maps for xai report.")
@option(
    "Gate",
    "--fail-under",
    multiple=True,
    metavar="METRIC=X",
    help="Exit 1 unless the lower end of a method's interval is at least X.",
)
@option(
    "Gate",
    "--fail-over",
    multiple=True,
    metavar="METRIC=X",
    help="Exit 1 unless the upper end of a method's interval is at most X.",
)
@option("Running", "--shard", metavar="I/N", help="Only the I-th of N parts of the photos; xai merge joins the stores.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], **given: Any) -> int:
    """Score the heatmaps of many photos: deletion and insertion, or any metrics.

    A row is one photo, method, target and metric. With -o rows go into an SQLite store, one transaction a photo: a run that was
    killed goes on where it stopped. A table of means with 95 % intervals comes last.
    """
    bounds = [bound(text, "--fail-under") for text in given["fail_under"]]
    ceilings = [bound(text, "--fail-over") for text in given["fail_over"]]
    run, lost = plan(images, given)
    check_bounds(run, [*bounds, *ceilings])
    with open_store(given) as store:
        errors = carry_out(run, store, lost, stream=given["form"] == "jsonl")
        groups = summary(run, store)
        if given["form"] != "jsonl":
            show(groups, given["form"])
        failed = report_bounds(groups, bounds, ceilings)
    if errors and not run.keep_going:
        raise errors[0]
    return 1 if failed else 4 if errors else 0


def plan(images: tuple[str, ...], given: dict[str, Any], *, leave_out: bool = False) -> tuple[ScoreRun, list[XaiError]]:
    """Read the command line into a run, and what could not be found; leave_out: methods that cannot run on the model, in place of
    refusing it, unless there is no other."""
    part = shard_of(given.get("shard"))
    from xaicli.runs.find_photos import find_photos

    photos: PhotoOptions = given["photos"]
    found = find_photos(images, **photos.finding(), keep_going=given["keep_going"])
    sources, lost = found.sources, found.errors
    from xaicli.images.truth import read_truth
    from xaicli.registry import make_methods, make_metrics
    from xaicli.runs.default_method import default_method
    from xaicli.runs.score import ScoreRun, shard
    from xaicli.runs.settings import Settings, colour
    from xaicli.runs.target_choice import choose_targets

    methods, metrics = make_methods(given["method"]), make_metrics(given["metric"])
    if given.get("maps") and methods:
        raise UsageError("--maps and --method are both given", hint="Maps from files need no method; leave one of them out.")
    classifier = given["model"].open()
    classifier = dataclasses.replace(classifier, batch_size=given["batch_size"]) if given["batch_size"] else classifier
    if not methods and not given.get("maps"):
        methods = make_methods([default_method(classifier)])
        Verbosity.current().say(f"method {methods[0].label} (others: --method, xai list methods)")
    if leave_out:
        methods = fitting(methods, classifier)
    truth = None
    if given["truth"]:
        truth = read_truth(given["truth"], classifier.classes, classifier.count, given["truth_classes"])
        named = truth.count(source.path for source in sources)
        Verbosity.current().say(f"ground truth of {named} of {count(len(sources), 'photo')}: {truth.kind}")
    run = ScoreRun(
        sources=shard(sources, *part) if part else sources,
        classifier=classifier,
        methods=methods,
        metrics=metrics,
        targets=choose_targets(given["target"], classifier, sources),
        settings=Settings(
            seed=given["seed"],
            precision=given["model"].precision,
            batch_size=given["batch_size"],
            background=colour(photos.background),
            command=command_line(),
        ),
        controls=given["controls"],
        truth=truth,
        keep_going=given["keep_going"],
        all_sources=sources,
    )
    if given.get("maps"):
        from xaicli.runs.given_maps import given_maps

        # A partner's map is borrowed for the control, so that all photos of the job need theirs.
        run = dataclasses.replace(run, given=given_maps(Path(given["maps"]), sources))
    run.check()
    return run, lost


def fitting(methods: list[Method], classifier: Classifier) -> list[Method]:
    """The methods that run on a classifier, all where none does; says which are left out."""
    from xaicli.registry import unfit

    fit = [method for method in methods if unfit(method, classifier) is None] or methods
    left = ", ".join(method.label for method in methods if method not in fit)
    if left:
        Verbosity.current().say(f"not for {classifier.name}: {left}")
    return fit


def shard_of(text: str | None) -> tuple[int, int] | None:
    """`I/N` as numbers, 1 to N."""
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {text} is no shard", expected="I/N with I from 1 to N, such as 3/8")
    return int(part), int(parts)


def bound(text: str, option_name: str) -> tuple[str, float]:
    """`METRIC=X` as the metric's label and the number."""
    from xaicli.registry import make_metric

    name, _, number = text.rpartition("=")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not (name and math.isfinite(limit)):
        raise UsageError(f"{option_name} {text} is no bound", expected="METRIC=NUMBER, such as insertion=0.5")
    return make_metric(name).label, limit


def check_bounds(run: ScoreRun, bounds: list[tuple[str, float]]) -> None:
    labels = [metric.label for metric in run.metrics]
    for label, _ in bounds:
        if label not in labels:
            raise UsageError(
                f"a bound is set on {label}, which is not scored", expected=", ".join(labels), hint=f"Add --metric {label}."
            )


def open_store(given: dict[str, Any]) -> Store:
    from xaicli.results.store import Store

    if not given.get("output"):
        return Store.in_memory()
    return Store.open(given["output"], curves=not given["no_curves"], maps=not given["no_maps"])


def carry_out(run: ScoreRun, store: Store, lost: list[XaiError], *, stream: bool = False) -> list[XaiError]:
    """Score, with progress and warnings; returns what failed."""
    verbosity, start = Verbosity.current(), time.monotonic()
    errors = list(lost)
    for error in lost:
        verbosity.warn(error.found)
    todo = len(run.incomplete(store, run.sources))
    rows = 0
    with contextlib.closing(run.run(store)) as results:
        for result in CommandProgress().track(results, "scoring", todo):
            if isinstance(result, list):
                rows += len(result)
                for row in result if stream else ():
                    print_line(row.record())
                continue
            errors.append(result.error)
            if run.keep_going:
                verbosity.warn(result.error.found)
    before = len(run.sources) - todo
    parts = [f"{count(rows, 'row')} of {count(todo, 'photo')} in {span(time.monotonic() - start)}"]
    if before:
        parts.append(f"{count(before, 'photo')} complete before")
    if errors:
        parts.append(f"{count(len(errors), 'photo')} failed")
    if store.path is not None:
        parts.append(f"all rows in {store.path} (xai report {store.path})")
    verbosity.say("; ".join(parts))
    return errors


def summary(run: ScoreRun, store: Store) -> list[Group]:
    """The means of this run's methods and metrics, over all photos of the store."""
    from xaicli.results.reading import Selection
    from xaicli.results.summary import summarise

    selection = Selection(
        tuple(dict.fromkeys(recipe.method for recipe in run.recipes)),
        tuple(metric.label for metric in run.metrics),
        run.controls,
    )
    groups = summarise(store, selection)
    return [
        group
        for group in groups
        if (group.fingerprint, group.target_rule, group.precision)
        == (run.classifier.fingerprint, run.targets.text, run.settings.precision)
    ]


def show(groups: list[Group], form: str) -> None:
    from xaicli.results.tables import render

    click.echo(render(groups, form), nl=False)


def report_bounds(groups: list[Group], bounds: list[tuple[str, float]], ceilings: list[tuple[str, float]]) -> bool:
    """Say which bounds are not met; True where any is not. A mean without an interval meets none."""
    failed = False

    def interval(group: Group, method: str, metric: str) -> tuple[float | None, float | None]:
        # Where the store holds two versions of a metric, neither bears its plain name.
        cell = group.cells.get((method, metric))
        return (None, None) if cell is None else (cell.estimate.low, cell.estimate.high)

    for group in groups:
        for method in group.methods:
            for metric, limit in bounds:
                low, _ = interval(group, method, metric)
                if low is None or low < limit:
                    failed = True
                    click.echo(f"FAIL  {method}  {metric}: lower end {shown(low)}, at least {limit:g} wanted", err=True)
            for metric, limit in ceilings:
                _, high = interval(group, method, metric)
                if high is None or high > limit:
                    failed = True
                    click.echo(f"FAIL  {method}  {metric}: upper end {shown(high)}, at most {limit:g} wanted", err=True)
    if (bounds or ceilings) and not groups:
        click.echo("FAIL  nothing was scored", err=True)
        return True
    return failed


def shown(value: float | None) -> str:
    return "unknown (too few photos)" if value is None else f"{value:.3f}"
