"""`xai baseline`: store a suite's results, with which later runs are compared."""

from __future__ import annotations

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.options import option, stack
from xaicli.cli.verbosity import Command, verbosity_options

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


@click.command(
    cls=Command, examples=EXAMPLES, meant=("the suite", "--suite"), short_help="store a suite's results for later checks"
)
@suite_options
@option("Output", "--overwrite", is_flag=True, help="Replace an existing baseline.")
@verbosity_options
def command(suite: str | None, trust: bool, model: str | None, weights: str | None, overwrite: bool) -> int:
    """Run a suite and keep its maps, scores and decisions as the baseline that xai check compares with."""
    from xaicli.passes.device import threads
    from xaicli.runs.baseline import baseline

    progress = CommandProgress()
    click.get_current_context().with_resource(threads())
    made = baseline(suite, trust=trust, model=model, weights=weights, overwrite=overwrite, progress=progress)
    progress.say(str(made))
    return 0
