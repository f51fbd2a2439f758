"""Options that name methods, metrics and targets."""

from __future__ import annotations

from typing import Any

from xaicli.cli.options import Decorator, complete_definition, option, stack

METHODS = "Methods with their parameters (xai list methods).  [default: what measured best, else grad-cam]"


def method_option(group: str, text: str = METHODS) -> Decorator:
    """`--method` under a heading of the help, as often as it is typed."""
    return definitions_option(group, "method", help=text)


def metric_option(group: str, text: str, **settings: Any) -> Decorator:
    """`--metric`, likewise."""
    return definitions_option(group, "metric", help=text, **settings)


def definitions_option(group: str, kind: str, **settings: Any) -> Decorator:
    """An option that may repeat. Where it is not typed the verb is given None, its default: an empty list is a mistake there."""
    return option(
        group,
        f"--{kind}",
        multiple=True,
        callback=lambda ctx, parameter, value: value or None,
        metavar="SPEC[,SPEC]",
        shell_complete=complete_definition(kind),
        **settings,
    )


def map_options(group: str, methods: str = METHODS) -> Decorator:
    """`--method` and `--target` of a command that takes one map a photo from each of several methods."""
    targets = "One for each photo: top1, an index, a class name, A-B, CLASS@region=predicted, @FILE.csv."
    return stack(method_option(group, methods), option(group, "--target", default="top1", metavar="TARGET", help=targets))
