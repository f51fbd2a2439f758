"""The console script. From its first line on a stop ends it in words, also while its modules are imported."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """End the process. Nothing has begun, so nothing has to be cleared up."""
    with contextlib.suppress(OSError):
        os.write(2, f"error: {STOPS[signal.Signals(number)]} before the command began\n".encode())
    os._exit(128 + number)


for stop in STOPS:
    # A shell that starts the command in the background has interrupts ignored; that stays so.
    if signal.getsignal(stop) is not signal.SIG_IGN:
        signal.signal(stop, stop_at_once)

# Imported only here, since it takes a fifth of a second. It sets handlers of its own when a command runs.
from xaicli.cli.main import run  # noqa: E402

__all__ = ["run"]

if __name__ == "__main__":
    run()
