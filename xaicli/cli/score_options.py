"""The options that `xai score` and `xai compare` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from xaicli.cli.map_options import method_option, metric_option
from xaicli.cli.options import option, stack
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
    method_option("Scores"),
    metric_option("Scores", "Metrics with their parameters (xai list metrics).", default=DEFAULT_METRICS),
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
