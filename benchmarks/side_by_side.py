"""The same job by several tools in one process tree, in turn: what each computes, how often it passes the network, how long."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.memory import MIB, STATUS, peak
from benchmarks.networks import SIDE

CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Side:
    """One tool on a job.

    tool: with its version; row: `default` or `tuned`, or what else sets it apart; work: the job, which returns what is compared,
    as a tensor; passes: photos that pass the network, None where they are counted; compared: whether it has to compute the same.
    """

    tool: str
    row: str
    work: Callable[[], torch.Tensor]
    passes: float | None = None
    compared: bool = True


@dataclass(eq=False)
class Measured:
    """What was measured of a side.

    wall, processor: seconds of each run; passes: photos that passed the network; memory: MiB above what the process had;
    difference: how far the result is from ours.
    """

    tool: str
    row: str
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    passes: float | None = None
    memory: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class Job:
    """A job and its bar.

    bar: how many times as long as ours the side `against` has to take; tolerance: how far results may differ, which is checked
    before the clock starts.
    """

    name: str
    of: str
    bar: float | None
    against: str
    tolerance: float


def race(job: Job, sides: Sequence[Side], network: nn.Module | None, rounds: int) -> dict[str, Any]:
    """Check that all sides compute the same, then run ours against each other one: A B B A, `rounds` times.

    The first side is ours. Raises AssertionError where results differ by more than the job's tolerance.
    """
    found = [Measured(side.tool, side.row) for side in sides]
    ours = None
    for side, measured in zip(sides, found, strict=True):
        with counting(network) as passed:
            measured.memory, result = memory_of(side.work)
        measured.passes = (passed[0] or None) if side.passes is None else side.passes
        ours = result if ours is None else ours
        if not side.compared:
            continue
        measured.difference = float((result.double() - ours.double()).abs().max())
        off = f"{measured.difference:.2g} off ours, {job.tolerance:g} allowed"
        print(f"{job.name}: {side.tool} ({side.row}) is {off}", flush=True)
        assert measured.difference <= job.tolerance, f"{side.tool} computes something else"
    ratios: dict[str, list[float]] = {}
    for side, measured in zip(sides[1:], found[1:], strict=True):
        for _ in range(rounds):
            first, a, b, last = (seconds(each.work) for each in (sides[0], side, side, sides[0]))
            for place, pairs in ((found[0], (first, last)), (measured, (a, b))):
                place.wall += [wall for wall, _ in pairs]
                place.processor += [processor for _, processor in pairs]
            ratios.setdefault(f"{side.tool} ({side.row})", []).append((a[0] + b[0]) / (first[0] + last[0]))
    for against, values in ratios.items():
        print(f"  {against}: {statistics.median(values):.2f} times as long as ours", flush=True)
    return {**asdict(job), "ratios": ratios, "sides": [asdict(each) for each in found]}


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call, those of finished child processes included."""
    wall, processor = time.perf_counter(), sum(times())
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, sum(times()) - processor


def times() -> tuple[float, float]:
    import resource

    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def memory_of(work: Callable[[], torch.Tensor]) -> tuple[float | None, torch.Tensor]:
    """MiB by which the process's peak rises above what it had, None where the kernel keeps no mark that can be reset."""
    if not CLEAR.is_file() or torch.cuda.is_available():
        return None, work()
    CLEAR.write_text("5")
    before = int(STATUS.read_text().split("VmRSS:")[1].split()[0]) * 1024 / MIB
    result = work()
    return max(0.0, peak() - before), result


@contextmanager
def counting(network: nn.Module | None) -> Iterator[list[float]]:
    """How many photos pass the network meanwhile, by what enters its first convolution: part of a photo counts by its area."""
    passed = [0.0]
    if network is None:
        yield passed
        return
    first = next(part for part in network.modules() if isinstance(part, nn.Conv2d))

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        passed[0] += inputs[0].shape[0] * inputs[0].shape[2] * inputs[0].shape[3] / SIDE**2

    handle = first.register_forward_pre_hook(count)
    try:
        yield passed
    finally:
        handle.remove()
