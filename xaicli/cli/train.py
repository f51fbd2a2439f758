"""`xai train`: an explainer, or a classifier, from photos."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import ModelOptions, batch_size_option, model_options, option, stack
from xaicli.cli.truth_options import truth_options
from xaicli.cli.verbosity import Command, verbosity_options
from xaicli.errors import UsageError

EXAMPLES = """
xai train t-tame --model resnet50 --data photos/ -o my-tame.safetensors
xai train lfi-cam --model resnet18 --data train/ --val val/ --crop 64 --resize 64 -o my-lfi.safetensors
xai train classifier --model tiny --data train/ --val val/ -o my-net.safetensors
"""

training_options = stack(
    option("Training", "--epochs", type=click.IntRange(min=1), metavar="N", help="Passes over all photos."),
    option("Training", "--lr", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Largest learning rate."),
    option("Training", "--weight-decay", type=click.FloatRange(min=0), metavar="X", help="Weight decay."),
    option("Training", "--schedule", type=click.Choice(["one-cycle", "step"]), help="The course of the learning rate."),
    option("Training", "--optimizer", type=click.Choice(["sgd", "adamw"]), help="The optimiser."),
    option(
        "Training",
        "--ema",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="X",
        help="Average the weights over steps, with this decay.",
    ),
    option(
        "Training", "--set", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of training (a loss weight)."
    ),
    option("Training", "--pretrained", is_flag=True, help="If a network is trained: start from the model's weights."),
    option("Training", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers."),
)


@click.command(cls=Command, examples=EXAMPLES, short_help="train an explainer, or a classifier")
@click.argument("method", cls=Argument)
@option(
    "Photos",
    "--data",
    required=True,
    metavar="DIR",
    help="FOLDER/CLASS/photo.jpg, a folder of photos or tar shards, FILE.csv, or @list.txt.",
)
@option("Photos", "--val", metavar="DIR", help="Held-out photos.  [default: one in fifty of --data, at most 2,000]")
@option("Photos", "--hold-out", type=click.IntRange(min=0), metavar="N", help="Hold out N photos of --data.")
@option("Photos", "--limit", type=click.IntRange(min=1), metavar="N", help="Train on N photos, drawn with the seed.")
@training_options
@model_options
@option("Output", "-o", "--output", metavar="FILE", help="The checkpoint.  [default: where methods look for it]")
@option("Output", "--half", is_flag=True, help="Write weights in float16, half the size.")
@option("Output", "--overwrite", is_flag=True, help="Replace an existing checkpoint.")
@option(
    "Report",
    "--report",
    type=click.IntRange(min=0),
    default=16,
    metavar="N",
    help="Number of held-out photos to score afterwards.",
)
@truth_options("Report", "Marks of held-out photos, for the energy pointing game")
@batch_size_option("by the method", "Photos per training step.")
@option("Running", "--resume/--fresh", default=None, help="Demand a snapshot, or ignore one.  [default: use it]")
@option("Running", "--save-every", type=click.FloatRange(min=0), default=300.0, metavar="SECONDS", help="Time between snapshots.")
@option("Running", "--keep-going", is_flag=True, help="Leave out photos that cannot be decoded; exit code 4.")
@verbosity_options
def command(method: str, model: ModelOptions, parameters: tuple[str, ...], **words: Any) -> int:
    """Train an explainer for a model (t-tame, p-tame, l-cam, tame, bee, u-cam@measure=variance), or a network (lfi-cam,
    classifier).

    Labels are needed by lfi-cam and classifier, which train --model from the start, and by u-cam. The same command goes on where
    a run was stopped or killed. A picture of the curves lies beside the checkpoint; held-out photos' scores come last.
    """
    from xaicli.passes.device import threads
    from xaicli.training.train import train

    click.get_current_context().with_resource(threads())
    made = train(method, parameters=settings(parameters), progress=CommandProgress(), **dataclasses.asdict(model), **words)
    if made.groups:
        click.echo(str(made))
    return 4 if made.errors else 0


def settings(texts: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` as a dictionary."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key in found:
            raise UsageError(f"--set {text}", expected="KEY=VALUE, each key once")
        found[key] = value
    return found
