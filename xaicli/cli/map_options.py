"""Options of commands that take one map a photo from each of several methods."""

from __future__ import annotations

from xaicli.cli.options import Decorator, complete_definition, option, stack


def map_options(group: str, methods: str) -> Decorator:
    """`--method` and `--target` under a heading of the help; methods: what is said of the methods."""
    return stack(
        option(
            group, "--method", multiple=True, metavar="SPEC[,SPEC]", shell_complete=complete_definition("method"), help=methods
        ),
        option(
            group,
            "--target",
            default="top1",
            metavar="TARGET",
            help="One for each photo: top1, an index, a class name, A-B, CLASS@region=predicted, @FILE.csv.",
        ),
    )
