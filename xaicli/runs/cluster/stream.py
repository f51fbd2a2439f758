"""Ray Data at work: blocks go to a pool of actors, and tables come back in whatever order they are done."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as arrow
import ray
import ray.data

from xaicli.errors import RunError
from xaicli.freed_memory import give_back
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.ledger import RunningLedger, State
from xaicli.runs.cluster.lost_actors import gave_up
from xaicli.words import count, span

TICK = 1.0
STILL = 60.0
"""Seconds without a result after which it is said what stands still, and again after twice as long."""
ANSWER, MISSED = 5.0, 8
"""Seconds in which a cluster answers, and how often in turn it may not."""
ENDING = 5.0
"""Seconds until the connection is ended although a block is at work."""
WAITING = 8
"""Tables that wait for the driver to write them; Ray holds back the others."""
PART, PART_AN_ACTOR = 1024, 32
"""Blocks that Ray is given at a time, and at least how many for each actor. What Ray keeps of a block, some 50 kB, it keeps until
the last of them is done; new actors do the next ones."""

Say = Callable[[str], None]


@dataclass
class Stream:
    """Tables of a pool of workers.

    worker: the class of the actors; ledger: what they are given, and told of by them; say: gets a line when nothing comes back
    for long.
    """

    pool: Pool
    worker: type
    ledger: RunningLedger
    say: Say
    still: float = STILL
    noted: tuple[float, str] = (-math.inf, "")

    def tables(self, blocks: Iterable[arrow.Table]) -> Iterator[arrow.Table]:
        """The table that a worker makes of each block; raises RunError if Ray gives up. Blocks are taken as they are needed, so
        that memory does not grow with them."""
        left = iter(blocks)
        while part := deque(islice(left, part_of(self.pool.actors))):
            yield from self.of_part(part)
            # What blocks took was freed in small pieces: without this the process seems to grow with each part.
            give_back()

    def of_part(self, blocks: deque[arrow.Table]) -> Iterator[arrow.Table]:
        results: queue.Queue[arrow.Table | BaseException | None] = queue.Queue(WAITING)
        ended = threading.Event()
        # Ray's iterator cannot be interrupted while it waits, the main thread can.
        thread = threading.Thread(target=self.pull, args=(blocks, results, ended), name="ray-results", daemon=True)
        thread.start()
        try:
            yield from self.watched(results)
        finally:
            ended.set()
            # A thread that is still at work when the connection ends would make Ray connect again by itself.
            thread.join(ENDING)

    def pull(self, blocks: deque[arrow.Table], results: queue.Queue[Any], ended: threading.Event) -> None:
        """Put all tables, then None, or what Ray raised, into the queue."""
        try:
            for table in self.dataset(blocks).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                if not put(results, table, ended):
                    return
            put(results, None, ended)
        # Whatever it is, the main thread raises it.
        except BaseException as error:
            put(results, error, ended)

    def dataset(self, blocks: deque[arrow.Table]) -> Any:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        each: dict[str, Any] = {"num_cpus": self.pool.cpus} | ({"num_gpus": self.pool.gpus} if self.pool.gpus else {})
        # One after the other, so that only Ray's object store holds them, which spills to disk.
        sent: list[Any] = []
        while blocks:
            sent.append(ray.put(blocks.popleft()))
        return ray.data.from_arrow_refs(sent).map_batches(
            self.worker,
            fn_constructor_kwargs={"ledger": self.ledger.actor},
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self.pool.actors, len(sent))),
            **each,
        )

    def watched(self, results: queue.Queue[Any]) -> Iterator[arrow.Table]:
        last, patience, missed = time.monotonic(), self.still, 0
        while True:
            try:
                found = results.get(timeout=TICK)
            except queue.Empty:
                quiet = time.monotonic() - last
                missed = reached(missed)
                if quiet > patience:
                    self.say(self.standing(quiet))
                    patience *= 2
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                reached()
                raise gave_up(found) from found
            yield found
            last, patience, missed = time.monotonic(), self.still, 0

    def standing(self, quiet: float) -> str:
        """What stands still, in words."""
        state = self.state()
        if state is None or not state.begun:
            resources = ray.cluster_resources()
            there = f"{resources.get('CPU', 0):g} processors and {resources.get('GPU', 0):g} GPUs"
            return f"no actor has begun after {span(quiet)}; the run asks for {self.pool.words()}, the cluster has {there}"
        at = sorted(state.at_work, key=lambda entry: -entry[2])
        named = ", ".join(f"{photo or 'a block'} for {span(seconds)} ({worker})" for photo, worker, seconds in at[:3])
        more = f", and {len(at) - 3} more" if len(at) > 3 else ""
        return f"no photo was finished for {span(quiet)}; at work: {named or 'nobody'}{more}"

    def state(self) -> State | None:
        """What the ledger knows, None if it does not answer."""
        try:
            return ray.get(self.ledger.actor.state.remote(), timeout=TICK)  # type: ignore[no-any-return]
        except ray.exceptions.RayError:
            return None

    def note(self) -> str:
        """How many actors are at work and how many workers ended, for a progress bar; asked once a second at most."""
        now = time.monotonic()
        if now - self.noted[0] > TICK and (state := self.state()) is not None:
            ended = f", {count(state.ended, 'worker')} ended" if state.ended else ""
            self.noted = now, f"on {len(state.at_work)} of {count(self.pool.actors, 'actor')}{ended}"
        return self.noted[1]


def part_of(actors: int) -> int:
    """Blocks that Ray is given at a time."""
    return max(PART, PART_AN_ACTOR * actors)


def put(results: queue.Queue[Any], item: Any, ended: threading.Event) -> bool:
    """Put an item into a full queue when there is room; False if nobody waits for it any more."""
    while not ended.is_set():
        try:
            results.put(item, timeout=TICK)
            return True
        except queue.Full:
            continue
    return False


def reached(missed: int = 0) -> int:
    """0 if the cluster is there, else `missed` and one more: how often in turn nobody answered in time.

    Raises RunError if it is gone. Ray itself ends this process without a word, sometimes before this is seen.
    """
    address = str(ray.get_runtime_context().gcs_address)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
        return 0
    except OSError as error:
        if isinstance(error, TimeoutError) and missed + 1 < MISSED:
            return missed + 1
        hint = "What was finished is kept; the same command goes on from there on another one."
        raise RunError(f"the Ray cluster at {address} is gone", hint=hint) from error
