"""`xai check`: does the model still look where it looked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xaicli.cli.baseline import suite_options, ticker
from xaicli.cli.options import option
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count
from xaicli.errors import InputError, UsageError, XaiError

if TYPE_CHECKING:
    from xaicli.gate.check import Outcome
    from xaicli.gate.measure import Bench

EXAMPLES = """
xai check
xai check --weights retrained.safetensors --format md
xai check --update
"""

FORMATS = ("text", "json", "md", "junit", "github")


@click.command(cls=Command, examples=EXAMPLES, short_help="hold a suite against its baseline")
@suite_options
@option("Suite", "--seed", type=click.IntRange(min=0), help="Seed of stochastic methods.  [default: the baseline's]")
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="text", help="What stdout shows.")
@option(
    "Output", "-o", "--output", metavar="DIR", help="Folder of before-and-after pictures.  [default: check beside the baseline]"
)
@option("Gate", "--strict", is_flag=True, help="Exit 1 also where a rule is inconclusive.")
@option("Gate", "--update", is_flag=True, help="Make what is found now the baseline, after showing the difference.")
@verbosity_options
def command(
    suite: str | None,
    trust: bool,
    model: str | None,
    weights: str | None,
    seed: int | None,
    form: str,
    output: str | None,
    strict: bool,
    update: bool,
) -> int:
    """Run a suite again and hold it against its baseline: maps, scores, confidence, decisions and the layer.

    Exit code 1 where a rule fails, with the methods, metrics and worst photos, and pictures of these. 2 where the suite is
    another than the baseline's, 3 where photos are missing.
    """
    from xaicli.gate.baseline_file import load
    from xaicli.gate.check import check, refuse_other_definitions
    from xaicli.gate.measure import make_ready
    from xaicli.gate.suite import find_suite, read_suite
    from xaicli.passes.device import threads

    read = read_suite(find_suite(suite))
    pictures = Path(output) if output else read.pictures_folder
    baseline = load(read.baseline_folder)
    click.get_current_context().with_resource(threads())
    bench = make_ready(read, trust=trust, model=model, weights=weights)
    try:
        # Before any work: a baseline of another definition can only be renewed.
        refuse_other_definitions(bench, baseline)
        outcome = check(bench, baseline, seed=seed, tick=ticker(len(baseline.photos)))
    except (UsageError, InputError) as error:
        if not update:
            raise
        Verbosity.current().warn(f"nothing to compare: {error.found}")
    else:
        show(bench, outcome, form, pictures)
        if not update:
            return 1 if outcome.failed(strict=strict) else 0
    return renew(bench, read.baseline_folder)


def show(bench: Bench, outcome: Outcome, form: str, pictures: Path) -> None:
    """The verdicts on stdout, and pictures of what failed, which a read-only checkout may not take."""
    from xaicli.gate.formats import render
    from xaicli.gate.pictures import draw_failures

    drawn = []
    try:
        drawn = draw_failures(bench, outcome, pictures)
    except (XaiError, OSError) as error:
        Verbosity.current().warn(f"no pictures: {error.found if isinstance(error, XaiError) else error}")
    click.echo(render(outcome, form, pictures=f"{pictures}/" if drawn else ""), nl=False)
    sys.stdout.flush()


def renew(bench: Bench, folder: Path) -> int:
    """Make what is found now the baseline."""
    from xaicli.gate.baseline import make_baseline, photos_to_run
    from xaicli.gate.baseline_file import save

    renewed = make_baseline(bench, ticker(photos_to_run(bench)))
    save(renewed, folder)
    photos = count(len(renewed.photos), "photo")
    Verbosity.current().say(f"the baseline in {folder} is renewed: {photos}, model {renewed.fingerprint[:8]}")
    return 0
