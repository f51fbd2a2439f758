"""What click says of a wrong command line, in one line of plain words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

from xaicli.errors import did_you_mean

IN_PLAIN_WORDS = {
    "is not a valid integer range": "is not a whole number",
    "is not a valid integer": "is not a whole number",
    "is not a valid float range": "is not a number",
    "is not a valid float": "is not a number",
}


def usage_line(error: click.ClickException, verb: str) -> str:
    """Click's message as one line with the command to type for help; verb: the command that was typed, where click does not say
    it, as of an option without its value."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else f"xai {verb}".strip()
    message = error.format_message().rstrip(".")
    for jargon, plain in IN_PLAIN_WORDS.items():
        message = message.replace(jargon, plain)
    parameter = getattr(error, "param", None)
    if isinstance(parameter, click.Parameter) and isinstance(parameter.type, click.Choice):
        typed = message.partition("': '")[2].partition("' is not ")[0]
        if isinstance(parameter, click.Option):
            message += f". Type {parameter.opts[0]} {nearest(typed, parameter.type.choices)}"
        elif hint := did_you_mean(typed, parameter.type.choices):
            message += f". {hint}"
    return message if "xai --help" in message else f"{message} ({path} --help)"


def nearest(typed: str, choices: Sequence[str]) -> str:
    """The choice that begins with what was typed, `openvino` for `open`, that is contained in it, `gif` for `a.gif`, or that is
    spelled most like it; otherwise the first choice."""
    begun = [choice for choice in choices if typed and choice.startswith(typed.lower())]
    contained = [choice for choice in choices if choice in typed]
    return (begun or contained or difflib.get_close_matches(typed.lower(), choices, n=1) or choices)[0]
