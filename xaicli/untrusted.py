"""Files that nobody vouches for, looked at and read in one place: regular files alone, within limits, faults in one line.

A pipe or a device is never waited for, whatever links lead to it; a path that no file system takes (a loop of links, a name that
is too long, a null character) is one where nothing lies.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from xaicli.errors import InputError

LARGEST_TEXT = 1 << 28
"""Bytes of a file of text: a list of photos, class names, a table, annotations."""

LARGEST_WEIGHTS = 1 << 40
"""Bytes of a file of weights; what lies in it is held against its own size."""


def is_file(path: str | Path) -> bool:
    """Whether a regular file lies there, links followed."""
    status = status_if_there(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: str | Path) -> bool:
    """Whether a folder lies there, links followed."""
    status = status_if_there(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_there(path: str | Path) -> bool:
    """Whether anything lies there that a path leads to."""
    return status_if_there(path) is not None


def status_if_there(path: str | Path) -> os.stat_result | None:
    """The status of what a path leads to; None where it leads nowhere."""
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def size_of(path: str | Path) -> int:
    """Bytes of what lies there; 0 where nothing does."""
    status = status_if_there(path)
    return 0 if status is None else status.st_size


def changed_at(path: str | Path) -> int:
    """When a file was last changed, in nanoseconds; 0 where there is none any more."""
    status = status_if_there(path)
    return 0 if status is None else status.st_mtime_ns


def entries_of(folder: Path, wanted: str) -> list[Path]:
    """What lies in a folder, by name; raises InputError."""
    with in_words(folder, wanted):
        return sorted(folder.iterdir())


def status_of(path: Path, wanted: str, most: int = LARGEST_WEIGHTS) -> os.stat_result:
    """The status of a regular file of at most so many bytes; raises InputError in words. For files that a library opens."""
    with opened(path, wanted, most) as file:
        return os.fstat(file.fileno())


def read(path: Path, wanted: str, most: int = LARGEST_TEXT) -> bytes:
    """A file's bytes; raises InputError for what is no regular file, larger than `most` bytes, or cannot be read."""
    with opened(path, wanted, most) as file, in_words(path, wanted):
        # Python makes room for all that is asked for, so ask for what is there; a file that grows meanwhile is cut.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def read_text(path: Path, wanted: str, most: int = LARGEST_TEXT, errors: str = "strict") -> str:
    """A file's text in UTF-8, with or without a byte-order mark, line ends as `\\n`; raises InputError."""
    try:
        text = read(path, wanted, most).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise InputError(f"{readable(path)} is not UTF-8 text", expected=wanted) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def opened(path: Path, wanted: str, most: int = LARGEST_WEIGHTS) -> Iterator[BufferedReader]:
    """A regular file of at most so many bytes, open for reading; raises InputError.

    wanted: what should lie there, in words.
    """
    with contextlib.ExitStack() as stack:
        with in_words(path, wanted):
            # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
            file = stack.enter_context(
                open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
            )
            status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{readable(path)} is no regular file", expected=wanted)
        if status.st_size > most:
            raise too_large(path, status.st_size, most)
        yield file


@contextlib.contextmanager
def in_words(path: Path, wanted: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file {readable(path)}", expected=wanted) from error
    except NotADirectoryError as error:
        raise InputError(f"{readable(path)} is no folder", expected=wanted) from error
    except IsADirectoryError as error:
        raise InputError(f"{readable(path)} is a folder", expected=wanted) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{readable(path)} cannot be read: {reason_of(error)}", expected=wanted) from error


def reason_of(error: OSError | ValueError) -> str:
    """Why the system refused, in its own words."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def too_large(path: Path, size: int, most: int) -> InputError:
    return InputError(f"{readable(path.name)} is larger than it can be ({size:,} bytes)", expected=f"at most {most:,} bytes")


def readable(path: str | Path) -> str:
    """A path as text that can be printed and stored: bytes that are no text are shown as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
