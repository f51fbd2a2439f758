"""Keep freed memory in the process for reuse."""

from __future__ import annotations

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD, ARENAS = -3, -1, -2, -8
"""Constants of glibc's malloc.h."""

LARGEST_MAPPED = 32 << 20
PADDING = 64 << 20
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next tensor; returns whether it does.

    By default the activations of every pass are given back to the system and asked for again, each page of them cleared: on a
    processor a third of the time of a pass. There is one heap for all threads: each would keep what it frees for itself, and
    photos are decoded by one thread and drawn by another. It holds for the whole process, so the command does it, never the
    library. Nothing happens on other systems, or where the user has tuned malloc by environment variables.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is None:
        return False
    settings = ((MMAP_THRESHOLD, LARGEST_MAPPED), (TRIM_THRESHOLD, NEVER), (TOP_PAD, PADDING), (ARENAS, 1))
    return all(tune(name, value) == 1 for name, value in settings)
