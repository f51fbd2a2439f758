"""Standard streams of a command.

If results cannot be written, the command ends with an error; messages that cannot be written are dropped. A reader that closes
the pipe (`xai export s.db | head -1`) has what it wants: the command ends at once, silently and without an error.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, ClassVar, TextIO

from xaicli.errors import InputError, XaiError
from xaicli.writable_text import SPELLED

COMMANDS = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""Control characters that could move a terminal's cursor or worse; colours are not among them."""


def spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class ReaderGone(XaiError):
    """The reader of stdout closed it: it has what it wants (exit code 0)."""

    exit_code: ClassVar[int] = 0


class Results(io.TextIOWrapper):
    """stdout: raises InputError, in words, if it cannot be written to, and ReaderGone if its reader has closed it."""

    def write(self, text: str) -> int:
        with delivered():
            return super().write(COMMANDS.sub(spelled, text) if self.isatty() else text)

    def flush(self) -> None:
        with delivered():
            super().flush()


class ResultBytes(io.RawIOBase):
    """stdout for bytes, with its errors in words; on a terminal control characters are shown as text."""

    def write(self, content: Any) -> int:
        if sys.stdout.isatty():
            # In a table of data nothing is coloured: such a command can only come from a name.
            sys.stdout.write(bytes(content).decode("utf-8", "backslashreplace").replace("\x1b", r"\x1b"))
        else:
            with delivered():
                sys.stdout.buffer.write(content)
        return len(content)

    def writable(self) -> bool:
        return True


class Messages(io.TextIOWrapper):
    """stderr: what cannot be written is dropped, since the exit code says the same."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


@contextlib.contextmanager
def delivered() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone("the reader of stdout is gone") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"stdout cannot be written: {reason}", expected="a file, pipe or terminal with room") from error


def set_up_streams() -> None:
    """Replace stdout and stderr of this process. Closed streams are opened on the null device, so that no file opened later gets
    their number."""
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Writing to a stdout that was closed must stay an error.
            os.open(os.devnull, flags)
    sys.stdout = sys.__stdout__ = rewrapped(Results, sys.stdout, 1)  # type: ignore[misc]  # the old ones have lost their bytes
    sys.stderr = sys.__stderr__ = rewrapped(Messages, sys.stderr, 2)  # type: ignore[misc]


def rewrapped(kind: type[io.TextIOWrapper], stream: TextIO | None, number: int) -> io.TextIOWrapper:
    """A stream of another class over the same bytes."""
    if not isinstance(stream, io.TextIOWrapper):
        return kind(open(number, "wb", closefd=False), encoding="utf-8", errors=SPELLED)
    encoding, errors, by_line = stream.encoding, stream.errors, stream.line_buffering
    # File names that are not valid text must not end a command half-way through its results, and show their bytes.
    errors = SPELLED if errors in ("strict", "backslashreplace", "surrogateescape") else errors
    return kind(stream.detach(), encoding=encoding, errors=errors, line_buffering=by_line, write_through=number == 2)


def close_results() -> None:
    """Drop what stdout still buffers, so that Python does not try to write it at exit."""
    try:
        sys.stdout.flush()
    except XaiError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
