"""Importing what a command needs, without the pauses of the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Nothing is collected inside, and what was made there is never looked through again.

    Importing torch makes a million objects, none of them garbage. Looking for garbage among them again and again takes an eighth
    of the time to the first photo.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
