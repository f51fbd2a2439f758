"""Timing two things against each other, and one command from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

import torch

Clock = Callable[[], float]


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds of one call, of the wall clock by default, to the end of what it left an accelerator to do."""
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def ratios(
    work: Callable[[], object], bare: Callable[[], object], rounds: int, clock: Clock = time.perf_counter
) -> tuple[list[float], list[float]]:
    """Seconds of `work` over those of `bare`, and the latter, once a round, after one round to warm up.

    Within a round both run twice, in the order work, bare, bare, work, so that a drift of the machine's speed cancels. clock:
    `time.process_time` counts the processor's time alone, whatever else the machine does.
    """
    found: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        first, second, third, fourth = (seconds(each, clock) for each in (work, bare, bare, work))
        found.append(((first + fourth) / (second + third), (second + third) / 2))
    kept = found[1:]
    return [ratio for ratio, _ in kept], [time_taken for _, time_taken in kept]


def seconds_of_command(command: Sequence[str], rounds: int) -> list[float]:
    """Wall-clock seconds of a command in fresh processes, after two runs to warm the file cache."""
    taken = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken[2:]
