"""Child processes of a tool end when the tool is told to end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from xaicli.errors import Terminated

PATIENCE = 60.0
"""Seconds that a child has to end its own children; torchrun gives its workers 30."""


@contextlib.contextmanager
def stops_raised() -> Iterator[None]:
    """Inside the `with`, the first SIGTERM raises Terminated, as Ctrl-C raises KeyboardInterrupt; further ones change nothing.

    Python would else end at once, and leave behind what its `with` blocks have begun. Nothing changes outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def child(command: Sequence[str], patience: float = PATIENCE, **given: Any) -> Iterator[subprocess.Popen[str]]:
    """A child process for the length of the `with`. One that still runs then gets SIGTERM, and SIGKILL if it does not end.

    It is asked first, since a process that is killed leaves its own children behind. given: as in `subprocess.Popen`.
    """
    with subprocess.Popen(command, text=True, **given) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    process.kill()


def run(command: Sequence[str], **given: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` by `child`; raises CalledProcessError where the exit code is not 0."""
    with child(command, **given) as process:
        out, err = process.communicate()
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    done.check_returncode()
    return done
