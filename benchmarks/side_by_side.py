"""The same job by several tools in one process tree, in turn: what each computes, how often it passes the network, how long."""

from __future__ import annotations

import importlib.metadata
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from benchmarks.figures import Figure
from benchmarks.memory import MIB, STATUS, peak
from benchmarks.networks import SIDE

CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Side:
    """One tool on a job.

    tool: with its version; row: `default` or `tuned`, or what else sets it apart; work: the job, which returns what is compared,
    as a tensor; passes: photos that pass the network, None where they are counted; compared: whether it has to compute the same;
    peak: the memory in MiB that the last run of the job took in a process of its own, None where it runs in this one.
    """

    tool: str
    row: str
    work: Callable[[], torch.Tensor]
    passes: float | None = None
    compared: bool = True
    peak: Callable[[], float] | None = None


@dataclass(eq=False)
class Measured:
    """What was measured of a side.

    wall, processor: seconds of each run; passes: photos that passed the network; memory: MiB above what the process had, of
    a process of its own all that it took;
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


def version(name: str) -> str | None:
    """A peer's name with its version, None where it is not installed."""
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def present(*sides: tuple[str, str, Callable[[], torch.Tensor]]) -> list[Side]:
    """The sides whose tool is installed: (distribution, row, work)."""
    return [Side(named, row, work) for name, row, work in sides if (named := version(name)) is not None]


def race(job: Job, sides: Sequence[Side], network: nn.Module | None, rounds: int) -> list[Figure]:
    """Check that all sides compute the same, then run ours against each other one: A B B A, `rounds` times.

    The first side is ours. A figure a peer: how many times as long as ours it takes; the details are what was measured of both.
    Raises AssertionError where results differ by more than the job's tolerance.
    """
    found = [Measured(side.tool, side.row) for side in sides]
    first: torch.Tensor | None = None
    for side, measured in zip(sides, found, strict=True):
        with counting(network) as passed:
            measured.memory, result = memory_of(side.work)
        measured.memory = measured.memory if side.peak is None else side.peak()
        measured.passes = (passed[0] or None) if side.passes is None else side.passes
        first = result if first is None else first
        if side.compared:
            measured.difference = float((result.double() - first.double()).abs().max())
            off = f"{measured.difference:.2g} off ours, {job.tolerance:g} allowed"
            print(f"{job.name}: {side.tool} ({side.row}) is {off}", flush=True)
            assert measured.difference <= job.tolerance, f"{side.tool} computes something else"
    figures = []
    for side, measured in zip(sides[1:], found[1:], strict=True):
        ratios = [in_turn(sides[0], side, found[0], measured) for _ in range(rounds)]
        bar = job.bar if side.tool.startswith(job.against) else None
        what = f"{job.name}, {job.of}: {side.tool}, {side.row}, over xai, {sides[0].row}"
        detail = {"job": asdict(job), "ours": asdict(found[0]), "theirs": asdict(measured)}
        figures.append(Figure(what, "times as long", tuple(ratios), least=bar, detail=detail))
    return figures


def in_turn(ours: Side, theirs: Side, of_ours: Measured, of_theirs: Measured) -> float:
    """How many times as long theirs takes as ours, in one round: ours, theirs, theirs, ours.

    Of processor time, which other programs on the machine hardly change; of an accelerator, of the wall.
    """
    first, second, third, last = (seconds(each.work) for each in (ours, theirs, theirs, ours))
    for place, pairs in ((of_ours, (first, last)), (of_theirs, (second, third))):
        place.wall += [wall for wall, _ in pairs]
        place.processor += [processor for _, processor in pairs]
    clock = 0 if torch.cuda.is_available() else 1
    return (second[clock] + third[clock]) / (first[clock] + last[clock])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call, those of finished child processes included."""
    wall, processor = time.perf_counter(), sum(times())
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, sum(times()) - processor


def times() -> tuple[float, float]:
    """Processor seconds of this process, and of its children that have ended."""
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
