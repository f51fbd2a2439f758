"""Files that are never half-written: written beside their place, flushed, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from xaicli.errors import InputError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a file beside `path`, then put it in place; nothing is left behind where that fails.

    Raises InputError where the folder or the disk does not take it.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Raise InputError now rather than after hours of work, where `folder` cannot be made or written to."""
    probe = folder / f".{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> InputError:
    reason = (error.strerror or type(error).__name__).lower()
    return InputError(
        f"{path} cannot be written: {reason}", expected="a folder that can be written to", hint="Choose one with -o DIR."
    )
