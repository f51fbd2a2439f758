"""Errors that a user can act on: one line, one exit code.

`XaiError` is the only exception that leaves the package on purpose. Its text says what was found, what was expected and what to
type next; only `xaicli.cli.main` turns it into a line on stderr and an exit code.
"""

from __future__ import annotations

import copy
import difflib
import errno
import json
import re
import traceback
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from xaicli.writable_text import writable


class XaiError(Exception):
    """An error that the caller can repair.

    `found` says in one clause what is wrong; `expected` and `hint` complete it. The line reads "<found>; expected <expected>.
    <hint>".
    """

    exit_code: ClassVar[int] = 2
    partial: Any = None
    """What a run had finished before this error ended it, as a result of the run's usual type."""

    def __init__(self, found: str, *, expected: str = "", hint: str = "") -> None:
        self.found = found
        self.expected = expected
        self.hint = hint
        super().__init__(self.line())

    def line(self) -> str:
        text = self.found.strip()
        if self.expected:
            text = f"{text.rstrip('.')}; expected {self.expected}"
        if self.hint:
            stop = "" if text.endswith((".", "?", "!")) else "."
            text = f"{text}{stop} {self.hint}"
        # A file name that cannot be decoded shows its bytes; control characters in names never reach the terminal.
        words = " ".join(writable(text).split())
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in words)

    def about(self, name: str) -> Self:
        """The same error, preceded by the name of its photo or file unless the text already has it."""
        if name in self.found:
            return self
        named = copy.copy(self)
        named.found = f"{name}: {self.found}"
        named.args = (named.line(),)
        named.__cause__ = self.__cause__
        return named.with_traceback(self.__traceback__)


class UsageError(XaiError):
    """The command line, a parameter or a configuration is wrong (exit code 2)."""

    exit_code = 2


class InputError(XaiError):
    """A photo, model, checkpoint or folder cannot be used (exit code 3)."""

    exit_code = 3


class RunError(XaiError):
    """A model or a plugin failed while running, or gave NaN logits (exit code 5)."""

    exit_code = 5


class Terminated(SystemExit):
    """SIGTERM came: the run ends, and no foreign code may prevent it."""


def stop_behind(error: BaseException) -> KeyboardInterrupt | Terminated | None:
    """The stop during which an error was raised, as by closing a file that was being written; None if there is none."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, KeyboardInterrupt | Terminated):
            return one
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
    return None


LONGEST_TEXT = 300


def text_of(error: BaseException) -> str:
    """The text of a foreign exception, in one line and shortened; making it may fail."""
    try:
        text = " ".join(str(error).split())
    except (KeyboardInterrupt, Terminated):
        raise
    # `__str__` is foreign code too, and may raise anything.
    except BaseException:
        return "(its text cannot be shown)"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …"


def described(error: BaseException) -> str:
    """ "TYPE: text" of a foreign exception."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fault_in_content(error: BaseException) -> str:
    """What is wrong with the content of a file, in words: of the exception that reading its parts raised."""
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return "a text that is not UTF-8"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {text_of(ValueError(repr(error.args[0])))}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ArithmeticError):
        return "a number that cannot be"
    if isinstance(error, TypeError | AttributeError | LookupError):
        return "a part of it is of another kind"
    return text_of(error) or "a value that cannot be"


def forget_frames(error: BaseException) -> None:
    """Let go of what the frames of an exception hold, and of those from which it was raised; their lines stay for --debug."""
    cause: BaseException | None = error
    seen: set[int] = set()
    # Errors may be each other's cause and context, where one that was kept is raised again.
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


OUT_OF_MEMORY = re.compile(
    "out of memory|not enough memory|(can't|cannot) allocate memory|(failed|unable) to allocate|alloc_failed|bad_alloc"
    "|bad allocation|can't start new thread|failed to map segment|could not create a (primitive(?! descriptor)|memory object)",
    re.IGNORECASE,
)
"""Of oneDNN, a convolution that got no memory could not create a primitive; without a descriptor, it is not supported."""

LESS_MEMORY = "Give a smaller --batch-size, or a smaller --resize and --crop."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or the one from which it was raised, says that memory ran out, for any allocator or runtime."""
    if isinstance(error, XaiError) and error.__cause__ is not None:
        return is_out_of_memory(error.__cause__)
    # Checked by name, so that reporting an error does not import torch.
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    if named or isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError) and OUT_OF_MEMORY.search(text_of(error)) is not None


NO_GRADIENT = "Compute with torch's operations, or use a method that needs the forward pass alone: rise."
IN_NUMPY = {
    "can't call numpy() on tensor that requires grad": ("computes in NumPy, through which no gradient passes", NO_GRADIENT),
    "got unsupported scalartype bfloat16": ("computes in NumPy, which has no bfloat16", "Give --precision fp32."),
}
"""What torch says where a computation leaves it for NumPy, and what that means, with what to do."""


def leaves_torch(error: BaseException) -> tuple[str, str] | None:
    """What stops a computation that leaves torch for NumPy, and what to do, in words; None for any other exception."""
    text = text_of(error).lower() if isinstance(error, RuntimeError | TypeError) else ""
    return next((said for start, said in IN_NUMPY.items() if text.startswith(start)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "Did you mean X?" for the nearest known name, or an empty string if none is near."""
    by_fold = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name.lower(), list(by_fold), n=1, cutoff=0.6)
    return f"Did you mean {by_fold[near[0]]}?" if near else ""
