"""`xai check`: does the model still look where it looked."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xaicli.cli.baseline import suite_options, ticker
from xaicli.cli.manner import Command, Manner, manner_options
from xaicli.cli.options import option

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
@manner_options
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
    from xaicli.gate.baseline import load, make_baseline, save
    from xaicli.gate.check import check, refuse_other_definitions
    from xaicli.gate.formats import render
    from xaicli.gate.measure import make_ready
    from xaicli.gate.pictures import draw_failures
    from xaicli.gate.suite import find_suite, read_suite

    read = read_suite(find_suite(suite))
    folder = Path(read.place(read.baseline))
    pictures = Path(output) if output else folder.parent / "check"
    baseline = load(folder)
    bench = make_ready(read, trust=trust, model=model, weights=weights)
    manner = Manner.current()
    if not update:
        refuse_other_definitions(bench, baseline)
    outcome = None
    if not update or baseline.definitions == bench.definitions():
        outcome = check(bench, baseline, seed=seed, tick=ticker(len(baseline.photos)))
        drawn = draw_failures(bench, outcome, pictures)
        click.echo(render(outcome, form, pictures=f"{pictures}/" if drawn else ""), nl=False)
        sys.stdout.flush()
    if update:
        renewed = make_baseline(bench, ticker(len(bench.sources)))
        save(renewed, folder)
        manner.say(f"the baseline in {folder} is renewed: {len(renewed.photos)} photos, model {renewed.fingerprint[:8]}")
        return 0
    assert outcome is not None
    return 1 if outcome.failed(strict=strict) else 0
