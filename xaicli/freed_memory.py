"""Memory that was freed goes back to the system: the command keeps it for tensors, which need far less than a large photo."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


@functools.cache
def trimming() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; None on other systems."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Give freed memory back to the system, where it can be."""
    trim = trimming()
    if trim is not None:
        trim(0)
