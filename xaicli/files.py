"""Files that are never half-written: written under a temporary name in the same folder, flushed, then renamed.

The next run that writes there removes temporary files that a killed run left. Each is locked, and the system releases the lock
when the process ends, so that no run mistakes another's file for a leftover.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from xaicli.errors import InputError, UsageError
from xaicli.untrusted import is_there

try:
    import fcntl
except ImportError:  # On Windows, where an open file cannot be removed anyway.
    LOCKS = False
else:
    LOCKS = True

PART = re.compile(r"\..+\.[0-9a-f]{8}\.part(-wal|-shm|-journal)?")
"""Names of temporary files: `.NAME.8 hex digits.part`, and those that SQLite puts beside one."""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How a URL begins, once it was made a path."""
LIKE_FILES = frozenset(
    {".pdf", ".svg", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".npy", ".html", ".json", ".csv", ".db"}
)
"""Endings that no folder of results has."""


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file, then rename it to `path`; if that fails, nothing is left behind.

    Raises InputError if the folder or disk refuses it.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary = part_of(path)
        with held(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            # Before the lock is released: a sweep must not find it.
            os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A unique temporary name in the folder of `path`."""
    name = os.fsencode(path.name)[:80].decode("utf-8", "ignore")
    return path.with_name(f".{name}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def held(part: Path) -> Iterator[BinaryIO]:
    """A new file, open for writing and locked as long as it is open."""
    while True:
        file = open(part, "xb")  # noqa: SIM115  # closed below, once it is known to be ours
        lock(file.fileno())
        # A sweep may have removed it before it was locked.
        if is_there(part):
            break
        file.close()
    with file:
        yield file


def lock(number: int, *, wait: bool = True) -> bool:
    """Lock an open file; False if another process holds it, or if the file system has no locks."""
    if not LOCKS:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder; once per process is enough."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if PART.fullmatch(entry.name):
                remove_if_left(Path(entry.path))


def remove_if_left(part: Path) -> None:
    """Remove a temporary file, unless a living process holds it."""
    with contextlib.suppress(OSError):
        number = os.open(part, os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            if lock(number, wait=False):
                part.unlink(missing_ok=True)
        finally:
            os.close(number)


def refuse_url(path: Path) -> None:
    """Raise UsageError for a path that was a URL, of which the system would make a folder called `s3:`."""
    if URL.match(str(path)):
        shown = str(path).replace(":/", "://", 1)
        hint = "Only xai explain writes to URLs, such as s3://bucket/maps."
        raise UsageError(f"{shown} is a URL", expected="a place on this machine", hint=hint)


def require_writable(folder: Path) -> None:
    """Raise InputError now, rather than after hours of work, if `folder` cannot be made or written to.

    A folder that is not there is not made: it comes with the first result. What is tried is the nearest folder that is there.
    Raises UsageError for a URL, and for a folder that would be called like a picture or a page.
    """
    refuse_url(folder)
    if folder.suffix.lower() in LIKE_FILES and not is_there(folder):
        hint = "For a figure of the maps: --figure FILE." if folder.suffix.lower() in (".pdf", ".svg", ".png") else ""
        raise UsageError(f"{folder} has the name of a file", expected="the name of a folder (-o DIR)", hint=hint)
    try:
        place = nearest(folder)
        probe = part_of(place / "probe")
        try:
            with held(probe):
                pass
        finally:
            probe.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error) from error
    sweep(place)


def require_name(path: Path, ending: str = "") -> None:
    """Raise InputError now, rather than after the work, if no file can be called so: a name that is too long, or below a file.

    ending: of another file that is written beside it.
    """
    try:
        os.lstat(f"{path}{ending}")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder for a first result; raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error) from error


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there; raises OSError where it can never be."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        if os.path.lexists(folder):
            # A link that leads nowhere.
            raise
        return nearest(folder.parent)
    return folder


def cannot_write(path: Path, error: OSError | ValueError) -> InputError:
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a file is where a folder is needed"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return InputError(f"{path} cannot be written: {reason}", expected="a shorter name", hint="Choose one with -o.")
    return InputError(
        f"{path} cannot be written: {reason}", expected="a folder that can be written to", hint="Choose one with -o DIR."
    )
