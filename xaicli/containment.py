"""Containment of foreign code: a model, a method or a metric may raise, print or end the program, and the run still goes on.

`contained` wraps every call of such code. Whatever it raises becomes a RunError that names the code; only Ctrl-C, SIGTERM and our
own errors pass through. In a command stdout belongs to results, so the prints of such code go to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from xaicli.errors import LESS_MEMORY, RunError, Terminated, XaiError, described, is_out_of_memory, leaves_torch
from xaicli.packages import broken_pair

RESULTS_ON_STDOUT: ContextVar[bool] = ContextVar("RESULTS_ON_STDOUT", default=False)
"""True while a command runs. For Python users, stdout is not redirected."""

TRACEBACK = "--debug shows the traceback."


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Redirect what foreign code prints away from stdout, as long as a command runs."""
    token = RESULTS_ON_STDOUT.set(True)
    try:
        yield
    finally:
        RESULTS_ON_STDOUT.reset(token)


class contained:  # reads as what it does: `with contained("net.py:make")`
    """Run foreign code: what it raises becomes the RunError "WHAT raised TYPE: text".

    what: whose code it is, and on what; hint: what to type next, which may depend on what was raised; passing: exceptions that
    the caller handles itself, such as those of full memory.
    """

    def __init__(
        self,
        what: str,
        *,
        hint: Callable[[BaseException], str] | str = TRACEBACK,
        passing: Callable[[BaseException], bool] = lambda error: False,
    ) -> None:
        self.what, self.hint, self.passing = what, hint, passing
        self.printing = contextlib.ExitStack()

    def __enter__(self) -> None:
        if RESULTS_ON_STDOUT.get():
            self.printing.enter_context(stdout_on_stderr())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.printing.close()
        if error is None or isinstance(error, XaiError | KeyboardInterrupt | Terminated) or self.passing(error):
            return
        if pair := broken_pair(error):
            raise pair from error
        if is_out_of_memory(error):
            raise RunError(f"{self.what} ran out of memory", hint=LESS_MEMORY) from error
        if in_numpy := leaves_torch(error):
            found, hint = in_numpy
            raise RunError(f"{self.what} {found}", hint=hint) from error
        hint = self.hint if isinstance(self.hint, str) else self.hint(error)
        raise RunError(f"{self.what} raised {described(error)}", hint=hint) from error


def contain_members(cls: type[Any], names: Sequence[str], kind: str) -> None:
    """Put `contained` around those functions and properties that a class defines itself."""
    for name in names:
        member = vars(cls).get(name)
        if isinstance(member, property) and member.fget is not None:
            setattr(cls, name, property(contained_member(member.fget, kind)))
        elif callable(member):
            setattr(cls, name, contained_member(member, kind))


def contained_member(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with contained(f"{function.__name__} of {kind} {self.name}"):
            return function(self, *args, **kwargs)

    return call


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Redirect stdout to stderr: for Python, for C code below it, and for programs started meanwhile."""
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
            stack.callback(flush_c)
        except OSError:
            # Our starter closed stdout or stderr: then there is nothing to redirect.
            pass
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        # Code that holds the original stdout writes into its buffer, which must be flushed before stdout is restored.
        stack.callback(flush_quietly, sys.__stdout__)
        yield


def flush_quietly(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()


def flush_c() -> None:
    """Flush what C code printed; it has its own buffers."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
