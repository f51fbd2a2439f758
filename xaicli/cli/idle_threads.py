"""Threads that wait for work leave the processor to others."""

from __future__ import annotations

import os

SPINS = 10_000
"""How often a thread looks for work before it sleeps: long enough for the gaps between layers, so that an idle machine loses
hardly anything, and a thirtieth of OpenMP's own, with which a busy machine may come to a standstill."""


def sleep_while_waiting() -> None:
    """Let threads of GNU's OpenMP, as torch uses it on Linux, sleep soon when they wait for each other.

    By default they spin for about a millisecond. Where other programs want the same processors (CI, several shards) the spinning
    thread holds up the one that it waits for: passes of a small network then took twenty times as long. It must come before torch
    is imported and holds for the whole process, so the command does it, never the library. A user who has chosen is left alone.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
