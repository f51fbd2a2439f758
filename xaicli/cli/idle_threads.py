"""Waiting threads leave the processor to others."""

from __future__ import annotations

import os

SPINS = 10_000
"""How often a thread checks for work before it sleeps: often enough to bridge the gaps between layers, so that an idle machine
loses hardly any time, but a thirtieth of OpenMP's default, with which a busy machine may come to a standstill."""


def sleep_while_waiting() -> None:
    """Let threads of GNU OpenMP, which torch uses on Linux, sleep soon when they wait for each other.

    By default they spin for about a millisecond. If other programs use the same processors (CI, several shards), a spinning
    thread holds up the thread for which it waits: passes of a small network took twenty times as long. The setting must be made
    before torch is imported and holds for the whole process, so only the command makes it, never the library. A user's own
    setting is kept.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
