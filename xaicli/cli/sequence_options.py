"""Options for sequences of frames."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from xaicli.cli.options import option, stack


class FrameCount(click.ParamType):
    """A number of frames, or `all`."""

    name = "frames"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value).strip().lower()
        if text == "all":
            return text
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            self.fail(f"{value!r} is not a number of frames, or all", param, ctx)
        return int(text)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem("all")] if "all".startswith(incomplete) else []


sequence_options = stack(
    option(
        "Photos",
        "--frames",
        type=FrameCount(),
        metavar="N|all",
        help="Frames of a sequence that the network reads, from --frame on.  [default: as the network says; else photos]",
    ),
    option("Photos", "--frame-step", type=click.IntRange(min=1), metavar="N", help="Take one of N frames.  [default: 1]"),
)
