"""Runs the main part of a tool whose work goes on where it was stopped, and ends it with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tools.children import stops_raised
from xaicli.errors import Terminated, XaiError
from xaicli.passes.device import threads


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def exit_code_of(work: Callable[[], object]) -> int:
    """0; an error is said in one line and gives its own exit code, Ctrl-C gives 130, SIGTERM 143."""
    try:
        with stops_raised(), threads():
            work()
    except XaiError as error:
        say(f"error: {error.line()}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from there")
        return 130
    except Terminated:
        say("terminated; the same command goes on from there")
        return 143
    return 0
