"""The ledger: which photo each block is at, so that a photo that ends its worker again and again is found.

It is an actor beside the driver. A worker tells it of each photo before work on it begins; when a block is begun again, the photo
at which its worker ended is known. A worker that begins a block for the first time does not wait for the ledger's answer, which
would cost some percent of a short photo's time; if it ends within that millisecond, the photo before is blamed. It waits for each
answer when a block is begun again, so that a photo that ends its worker each time is blamed itself from then on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

TIMES = 3
"""How often a photo may end its worker before it is set aside."""


@dataclass
class BlockAtWork:
    """What a block is at: the photo, since when, and on which node."""

    photo: str
    since: float
    worker: str


@dataclass(frozen=True)
class Begun:
    """What a worker is told that begins a block. ends: how often each photo ended a worker so far; again: whether the block was
    begun before, by a worker that ended."""

    ends: dict[str, int] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True)
class State:
    """What the driver is told: seconds by photo and worker of all blocks at work, workers that ended, photos set aside."""

    at_work: list[tuple[str, str, float]]
    begun: int
    ended: int
    aside: list[str]


@dataclass
class Ledger:
    """Blocks at work, and how often each photo ended its worker. It also keeps what workers are given, since an actor whose own
    arguments lie in the object store may not start again."""

    given: list[Any] = field(default_factory=list)
    open: dict[str, BlockAtWork] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    begun: int = 0

    def job(self) -> list[Any]:
        """A reference to what workers are given."""
        return self.given

    def begin(self, block: str, worker: str) -> Begun:
        """A worker begins a block."""
        self.begun += 1
        before = self.open.pop(block, None)
        if before is not None and before.photo:
            self.ends[before.photo] = self.ends.get(before.photo, 0) + 1
        self.open[block] = BlockAtWork("", time.monotonic(), worker)
        return Begun(dict(self.ends), before is not None)

    def at(self, block: str, photo: str) -> None:
        """Work on a photo begins."""
        if block in self.open:
            self.open[block].photo, self.open[block].since = photo, time.monotonic()

    def done(self, block: str) -> None:
        self.open.pop(block, None)

    def state(self) -> State:
        now = time.monotonic()
        at_work = [(entry.photo, entry.worker, now - entry.since) for entry in self.open.values()]
        aside = [photo for photo, ends in self.ends.items() if ends >= TIMES]
        return State(at_work, self.begun, sum(self.ends.values()), aside)


@dataclass(frozen=True)
class RunningLedger:
    """The ledger as an actor; given: what workers are given, which is held here, since it is gone with its last holder."""

    actor: Any
    given: Any


def start_ledger(job: object) -> RunningLedger:
    """The ledger as an actor on the driver's node, which needs no processor of its own; job: what workers are given. If its
    process ends, another one counts from nothing."""
    given = ray.put(job)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    again = {"max_restarts": -1, "max_task_retries": -1}
    return RunningLedger(ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here, **again).remote([given]), given)
