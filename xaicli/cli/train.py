"""`xai train`: an explainer, or a classifier, from photos."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xaicli.cli.options import MODEL_KEYS, describe_model, model_options, option, stack
from xaicli.cli.progress import progress_bar
from xaicli.cli.training_progress import decoding_bar, show_training
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count, span
from xaicli.errors import UsageError, XaiError
from xaicli.models.catalogue import DEFAULT

if TYPE_CHECKING:
    from xaicli.training.run import TrainRun
    from xaicli.training.wish import Wish

EXAMPLES = """
xai train t-tame --model resnet50 --data photos/ -o my-tame.safetensors
xai train lfi-cam --model resnet18 --data train/ --val val/ --crop 64 --resize 64 -o my-lfi.safetensors
xai train classifier --model tiny --data train/ --val val/ -o my-net.safetensors
"""

training_options = stack(
    option("Training", "--epochs", type=click.IntRange(min=1), metavar="N", help="Times each photo is seen."),
    option("Training", "--batch-size", type=click.IntRange(min=1), metavar="N", help="Photos a step."),
    option("Training", "--lr", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Largest learning rate."),
    option("Training", "--weight-decay", type=click.FloatRange(min=0), metavar="X", help="Weight decay."),
    option("Training", "--schedule", type=click.Choice(["one-cycle", "step"]), help="How the learning rate goes."),
    option("Training", "--optimizer", type=click.Choice(["sgd", "adamw"]), help="What turns gradients into steps."),
    option("Training", "--ema", type=click.FloatRange(0, 1, max_open=True), metavar="X", help="Average weights with this decay."),
    option("Training", "--set", "given", multiple=True, metavar="KEY=VALUE", help="A parameter of training (a loss weight)."),
    option("Training", "--pretrained", is_flag=True, help="Start from the model's weights where a network is trained."),
    option("Training", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers."),
)

SCHEDULE_KEYS = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "lr": "lr",
    "weight_decay": "weight_decay",
    "schedule": "shape",
    "optimizer": "optimizer",
    "ema": "ema",
}


@click.command(cls=Command, examples=EXAMPLES, short_help="train an explainer, or a classifier")
@click.argument("method")
@option("Photos", "--data", required=True, metavar="DIR", help="A folder of a folder a class, or of photos; FILE.csv; @list.txt.")
@option("Photos", "--val", metavar="DIR", help="Held-out photos.  [default: one in fifty of --data]")
@option("Photos", "--hold-out", "held", type=click.IntRange(min=0), metavar="N", help="Hold N photos of --data out.")
@option("Photos", "--limit", type=click.IntRange(min=1), metavar="N", help="Train on N photos, drawn with the seed.")
@training_options
@model_options
@option("Output", "-o", "--output", "checkpoint", metavar="FILE", help="The checkpoint.  [default: where methods look for it]")
@option("Output", "--half", is_flag=True, help="Write weights in float16, half the size.")
@option("Output", "--overwrite", is_flag=True, help="Replace a checkpoint that is there.")
@option("Report", "--report", type=click.IntRange(min=0), default=16, metavar="N", help="Held-out photos scored afterwards.")
@option("Report", "--truth", metavar="DIR", help="Boxes or masks of held-out photos, for the energy pointing game.")
@option("Report", "--truth-classes", metavar="FILE", help="CSV of annotation labels and the model's classes.")
@option("Running", "--resume/--fresh", default=None, help="Demand a snapshot to go on from, or ignore one.  [default: use it]")
@option("Running", "--save-every", type=click.FloatRange(min=0), default=300.0, metavar="SECONDS", help="Between snapshots.")
@option("Running", "--keep-going", is_flag=True, help="Leave photos out that cannot be decoded; exit code 4.")
@verbosity_options
def command(method: str, **given: Any) -> int:
    """Train an explainer for a model (t-tame, tame, p-tame), or a network: lfi-cam, classifier.

    Labels are needed by lfi-cam and classifier alone, which train --model from the start. The same command goes on where a run
    was stopped or killed. A picture of the curves lies beside the checkpoint; a table of scores on held-out photos comes last.
    """
    from xaicli.passes.device import threads
    from xaicli.training.plan import prepare

    verbosity = Verbosity.current()
    click.get_current_context().with_resource(threads())
    wish = wish_of(method, given)
    failed: list[XaiError] = []

    def lose(error: XaiError) -> None:
        failed.append(error)
        verbosity.warn(error.found)

    with decoding_bar() as report:
        run = prepare(wish, notice=verbosity.say, on_error=lose, report=report)
    carry_out(run)
    report_on(run, given)
    return 4 if failed else 0


def wish_of(method: str, given: dict[str, Any]) -> Wish:
    """What the command line asks for."""
    from xaicli.training.task import parse_what
    from xaicli.training.wish import Wish

    parameters = {}
    for text in given["given"]:
        key, equals, value = text.partition("=")
        if not equals or key in parameters:
            raise UsageError(f"--set {text}", expected="KEY=VALUE, each key once")
        parameters[key] = value
    network = parse_what(method, parameters).trains_network
    options = {key: given[key] for key in MODEL_KEYS if given.get(key) is not None and key not in ("model", "precision")}
    return Wish(
        method=method,
        data=given["data"],
        model=given["model"] or ("tiny" if network else DEFAULT),
        output=None if given["checkpoint"] is None else Path(given["checkpoint"]),
        val=given["val"],
        given=parameters,
        overrides={name: given[key] for key, name in SCHEDULE_KEYS.items() if given[key] is not None},
        model_options=options,
        limit=given["limit"],
        held=given["held"],
        seed=given["seed"],
        bf16=given["precision"] == "bf16",
        half=given["half"],
        pretrained=given["pretrained"],
        resume=given["resume"],
        overwrite=given["overwrite"],
        keep_going=given["keep_going"],
        save_every=given["save_every"],
    )


def carry_out(run: TrainRun) -> None:
    """Train, with a bar or a line an epoch."""
    from xaicli.training.curve import curve_path

    verbosity, start, training = Verbosity.current(), time.monotonic(), run.training
    verbosity.say(f"model {describe_model(run.task.classifier)}")
    schedule, held = run.schedule, 0 if run.held is None else len(run.held)
    verbosity.say(
        f"{run.what.label}: {count(len(run.listing), 'photo')}, {held} held out; {count(schedule.epochs, 'epoch')} of "
        f"{count(training.batches.steps, 'step')}, batch {training.batches.batch_size}, lr {schedule.lr:g}"
    )
    if training.resume and training.snapshot.exists():
        verbosity.say(f"going on from {training.snapshot.name}")
    show_training(run.events(), training.total)
    verbosity.say(f"{run.output} in {span(time.monotonic() - start)}; curves in {curve_path(run.output).name}")


def report_on(run: TrainRun, given: dict[str, Any]) -> None:
    """Score the explainer on held-out photos and print the table."""
    from xaicli.images.truth import read_truth
    from xaicli.results.tables import render
    from xaicli.training.report import report_on as make_report

    classifier, truth = run.task.classifier, None
    if given["truth"]:
        truth = read_truth(given["truth"], classifier.classes, classifier.count, given["truth_classes"])
    report = make_report(run, given["report"], truth=truth, seed=run.wish.seed)
    if report is None:
        return
    with report.store:
        for _ in progress_bar(report.rows(), len(report.run.sources), "scoring"):
            pass
        click.echo(render(report.groups, "table"), nl=False)
