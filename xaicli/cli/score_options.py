"""The options that `xai score` and `xai compare` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from xaicli.cli.options import complete_definition, option, stack
from xaicli.cli.truth_options import truth_options

DEFAULT_METRICS = ("deletion,insertion",)


def controls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --controls and --no-controls; the latter gives the command an empty `controls`."""

    @functools.wraps(command)
    def with_controls(*, controls: str, no_controls: bool, **values: Any) -> Any:
        return command(controls="" if no_controls else controls, **values)

    return stack(
        option(
            "Scores", "--controls", default="random,center,other", metavar="LIST", help="Controls to compare each method with."
        ),
        option("Scores", "--no-controls", is_flag=True, help="No controls."),
    )(with_controls)


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
    option(
        "Scores",
        "--target",
        default="top1",
        metavar="TARGET",
        help="top1, an index, a class name, A-B, positive, CLASS@region=predicted, similar:PHOTO, @FILE.csv.",
    ),
    option("Scores", "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers."),
    controls_options,
    truth_options("Scores"),
)
