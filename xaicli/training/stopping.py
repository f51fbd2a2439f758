"""Signals that ask a training run to stop: noticed between two steps, obeyed once the state is on disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """The signal that came, if any; a second one stops the run at once."""

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def act(self) -> None:
        """Do now what the signal would have done; do nothing if none came."""
        if self.number:
            self.restore()
            signal.raise_signal(self.number)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Only note SIGINT and SIGTERM inside the `with`. Nothing changes outside the main thread, where Python delivers no
    signals."""
    stop = Stop()
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                stop.before[number] = signal.signal(number, stop.note)
        yield stop
    finally:
        stop.restore()
