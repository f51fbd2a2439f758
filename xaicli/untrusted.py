"""Untrusted files, checked and read in one place: only regular files, within limits, errors in one line.

A pipe or device is never waited for, whatever links lead to it. A path that no file system accepts (a loop of links, a name that
is too long, a null character) counts as missing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from xaicli.errors import InputError
from xaicli.words import count
from xaicli.writable_text import writable

LARGEST_TEXT = 1 << 28
"""Maximum bytes of a text file: a list of photos, class names, a table, annotations."""

LARGEST_WEIGHTS = 1 << 40
"""Maximum bytes of a file of weights; its contents are checked against its size."""


def is_file(path: str | Path) -> bool:
    """Whether the path is a regular file, after following links."""
    status = status_if_there(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: str | Path) -> bool:
    """Whether the path is a folder, after following links."""
    status = status_if_there(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_there(path: str | Path) -> bool:
    """Whether the path leads to anything that exists."""
    return status_if_there(path) is not None


def status_if_there(path: str | Path) -> os.stat_result | None:
    """The status of the file to which a path leads; None if it leads nowhere."""
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def size_of(path: str | Path) -> int:
    """The size in bytes; 0 if nothing is there."""
    status = status_if_there(path)
    return 0 if status is None else status.st_size


def entries_of(folder: Path, wanted: str) -> list[Path]:
    """The sorted entries of a folder; raises InputError."""
    if not is_there(folder):
        raise InputError(f"there is no folder {readable(folder)}", expected=wanted)
    with in_words(folder, wanted):
        return sorted(folder.iterdir())


def status_of(path: Path, wanted: str, most: int = LARGEST_WEIGHTS) -> os.stat_result:
    """The status of a regular file of at most `most` bytes, for files that a library opens; raises InputError in words."""
    with opened(path, wanted, most) as file:
        return os.fstat(file.fileno())


def file_state(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file's contents. Size and time of change alone can be set back, or stay, when a file is replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read(path: Path, wanted: str, most: int = LARGEST_TEXT) -> bytes:
    """A file's bytes; raises InputError if it is not a regular file, is larger than `most` bytes, or cannot be read."""
    with opened(path, wanted, most) as file, in_words(path, wanted):
        # Python allocates all that is asked for, so ask for the file's size; a file that grows meanwhile is truncated.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def read_text(path: Path, wanted: str, most: int = LARGEST_TEXT, errors: str = "strict") -> str:
    """A file's text in UTF-8, with or without a byte-order mark, line ends as `\\n`; raises InputError."""
    try:
        text = read(path, wanted, most).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise InputError(f"{readable(path)} is not UTF-8 text", expected=wanted) from error
    if errors == "strict" and "\0" in text:
        # Zeros, a program: valid UTF-8, and no text.
        raise InputError(f"{readable(path)} is not a text: it holds zero bytes", expected=wanted)
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def opened(path: Path, wanted: str, most: int = LARGEST_WEIGHTS) -> Iterator[BufferedReader]:
    """A regular file of at most `most` bytes, open for reading; raises InputError.

    wanted: what the file should be, in words.
    """
    with contextlib.ExitStack() as stack:
        with in_words(path, wanted):
            # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
            file = stack.enter_context(
                open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
            )
            status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{readable(path)} is not a regular file", expected=wanted)
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
    """The operating system's reason, in words."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def too_large(path: Path, size: int, most: int) -> InputError:
    return InputError(
        f"{readable(path.name)} is larger than it can be ({count(size, 'byte')})", expected=f"at most {count(most, 'byte')}"
    )


def readable(path: str | Path) -> str:
    """A path as text that can be printed and stored: bytes that are no text are shown as `\\xff`."""
    return writable(os.fspath(path))
