"""Runs the main part of a tool whose work goes on where it was stopped, and ends it with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from xaicli.errors import XaiError
from xaicli.passes.device import threads


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def exit_code_of(work: Callable[[], object]) -> int:
    """0; an error is said in one line and gives its own exit code, Ctrl-C gives 130."""
    try:
        with threads():
            work()
    except XaiError as error:
        say(f"error: {error.line()}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from there")
        return 130
    return 0
