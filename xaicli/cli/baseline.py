"""`xai baseline`: store what a suite gives now, to hold later runs against."""

from __future__ import annotations

from collections.abc import Callable

import click

from xaicli.cli.options import option, stack
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count
from xaicli.errors import UsageError

EXAMPLES = """
xai baseline
xai baseline --suite ci/xai.toml --trust
xai baseline --overwrite
"""

suite_options = stack(
    option("Suite", "--suite", metavar="FILE", help="The suite.  [default: xai.toml, or [tool.xai] in pyproject.toml]"),
    option("Suite", "--trust", is_flag=True, help="Let the suite's own model file run: it is code of this repository."),
    option("Suite", "--model", metavar="SPEC", help="Another model than the suite's."),
    option("Suite", "--weights", metavar="FILE", help="Other weights than the suite's."),
)


@click.command(cls=Command, examples=EXAMPLES, short_help="store what a suite gives now")
@suite_options
@option("Output", "--overwrite", is_flag=True, help="Replace a baseline that is there.")
@verbosity_options
def command(suite: str | None, trust: bool, model: str | None, weights: str | None, overwrite: bool) -> int:
    """Run a suite and keep its maps, scores and decisions as the baseline that xai check compares with."""
    from xaicli.files import require_writable
    from xaicli.gate.baseline import make_baseline, photos_to_run
    from xaicli.gate.baseline_file import exists, save
    from xaicli.gate.measure import make_ready
    from xaicli.gate.suite import find_suite, read_suite
    from xaicli.passes.device import threads

    read = read_suite(find_suite(suite))
    folder = read.baseline_folder
    if exists(folder) and not overwrite:
        hint = "Replace it deliberately: xai baseline --overwrite, or xai check --update."
        raise UsageError(f"{folder} holds a baseline", hint=hint)
    require_writable(folder)
    click.get_current_context().with_resource(threads())
    bench = make_ready(read, trust=trust, model=model, weights=weights)
    baseline = make_baseline(bench, ticker(photos_to_run(bench)))
    size = save(baseline, folder)
    methods = ", ".join(method.label for method in bench.methods)
    photos = count(len(baseline.photos), "photo")
    Verbosity.current().say(f"{photos} x {methods}: baseline in {folder} ({size / 1e6:.1f} MB), model {baseline.fingerprint[:8]}")
    return 0


def ticker(total: int) -> Callable[[int], None]:
    """A counter on a terminal's last line."""
    verbosity = Verbosity.current()

    def tick(done: int) -> None:
        if verbosity.shows_progress:
            click.echo(f"\r{done} of {total} photos", nl=done == total, err=True)

    return tick
