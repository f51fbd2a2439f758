"""`xai check`: does the model still look at the same places."""

from __future__ import annotations

import click

from xaicli.cli.baseline import suite_options
from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.options import format_option, option
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai check
xai check --weights retrained.safetensors --format markdown
xai check --against onnx:net.onnx
xai check --update
"""

FORMATS = ("table", "markdown", "json", "junit", "github")


@click.command(cls=Command, examples=EXAMPLES, meant=("the suite", "--suite"), short_help="compare a suite with its baseline")
@suite_options
@option(
    "Suite",
    "--against",
    metavar="SPEC",
    help="Compare with this model in place of the baseline.  [default: the suite's `compare`, else the baseline]",
)
@option("Suite", "--seed", type=click.IntRange(min=0), help="Seed of stochastic methods.  [default: the baseline's]")
@format_option(FORMATS)
@option(
    "Output",
    "-o",
    "--output",
    metavar="DIR",
    help="Folder of before-and-after pictures and their page.  [default: check beside the baseline]",
)
@option("Gate", "--strict", is_flag=True, help="Exit 1 also if a rule is inconclusive.")
@option("Gate", "--update", is_flag=True, help="Show the differences, then make the present results the baseline.")
@option("Gate", "--yes", is_flag=True, help="Update even if a rule fails.")
@verbosity_options
def command(
    suite: str | None,
    trust: bool,
    model: str | None,
    weights: str | None,
    against: str | None,
    seed: int | None,
    form: str,
    output: str | None,
    strict: bool,
    update: bool,
    yes: bool,
) -> int:
    """Run a suite again and compare it with its baseline: maps, scores, confidence, decisions and the layer.

    Exit code 1 where a rule fails, with the methods, metrics and worst photos, and pictures of these. 2 where the suite is
    another than the baseline's, 3 where photos are missing.
    """
    from xaicli.passes.device import threads
    from xaicli.runs.check import check

    click.get_current_context().with_resource(threads())
    found = check(
        suite,
        trust=trust,
        model=model,
        weights=weights,
        against=against,
        seed=seed,
        output=output,
        strict=strict,
        update=update,
        yes=yes,
        progress=CommandProgress(),
    )
    print_result(found, form)
    return 1 if found.failed else 0
