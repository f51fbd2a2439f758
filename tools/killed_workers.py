"""Whether a run whose workers are killed ends with the rows of an undisturbed one.

    python -m tools.killed_workers PHOTOS FOLDER [--photos 20000] [--every 60] [--most N] [--write]

PHOTOS: a folder of photos, such as the training photos of Tiny ImageNet; FOLDER: for the two stores. A plain run scores the
photos; then a cluster of three nodes on this machine does. Two of the nodes hold a worker, and from the first results on one
worker gets SIGKILL each minute. Either run goes on where it was stopped. Needs Linux. What came of it is printed as JSON;
`--write` puts it beside the benchmarks too, and `python -m docs.scale` shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.children import child, run, stops_raised
from xaicli.results.store import Store
from xaicli.rows import Row

METRICS = "deletion@steps=2"
RESULT = Path(__file__).parent.parent / "benchmarks" / "results" / "ray_killed.json"
NODES = 3
DRIVER = "driver"
"""Written among the killed workers when a driver starts."""
CLOSE = 1e-5
"""The largest difference of two values that are the same."""
Rows = Mapping[tuple[str, str, int], Row]


@dataclass(frozen=True)
class RunsCompared:
    """What the disturbed run came to, beside the plain one.

    killed: workers; missing, further: rows of one run alone; other: rows of both that differ in more than numbers;
    largest_difference: of all values and read-outs.
    """

    photos: int
    rows: int
    killed: int
    missing: int
    further: int
    other: int
    largest_difference: float

    @property
    def same(self) -> bool:
        return not (self.missing or self.further or self.other) and self.largest_difference <= CLOSE


def compared(plain: Rows, disturbed: Rows, killed: int) -> RunsCompared:
    """rows: by definition, subject and seed, which are their stamps."""
    both = plain.keys() & disturbed.keys()
    return RunsCompared(
        photos=len({(row.photo, row.frame) for row in disturbed.values()}),
        rows=len(disturbed),
        killed=killed,
        missing=len(plain.keys() - both),
        further=len(disturbed.keys() - both),
        other=sum(words_of(plain[key]) != words_of(disturbed[key]) for key in both),
        largest_difference=max((distance(plain[key], disturbed[key]) for key in both), default=0.0),
    )


def words_of(row: Row) -> tuple[object, ...]:
    about = row.image, row.photo, row.method, row.metric, row.target, row.status, row.model
    return *about, row.value is None, sorted(row.readouts)


def distance(one: Row, other: Row) -> float:
    pairs = [(one.value or 0.0, other.value or 0.0)]
    pairs += [(value, other.readouts.get(name, value)) for name, value in one.readouts.items()]
    return max(abs(first - second) for first, second in pairs)


def rows_in(path: Path) -> Rows:
    with Store.open(path, write=False) as store:
        return {row.key: row for row in store.rows()}


def line(photos: Path, count: int, store: Path, *more: str) -> list[str]:
    words = ["--recursive", "--limit", str(count), "--no-maps"]
    words += ["--method", "grad-cam", "--metric", METRICS, "--controls", "other"]
    return [sys.executable, "-m", "xaicli.cli.main", "score", str(photos), *words, "-o", str(store), *more]


@contextlib.contextmanager
def cluster() -> Iterator[Any]:
    """A cluster of three nodes with a processor each; the first is the driver's."""
    from ray.cluster_utils import Cluster

    from xaicli.runs.cluster.address import own_signals

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    settings: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 120 << 20, "include_dashboard": False}
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        with own_signals():
            made = Cluster(initialize_head=True, head_node_args=settings)
        try:
            with own_signals():
                for _ in range(NODES - 1):
                    made.add_node(**settings)
            yield made
        finally:
            made.shutdown()


def actors_of(made: Any, kind: str = "ScoreWorker") -> list[int]:
    """The processes of the cluster's actors of a class: children of its nodes that bear its name."""
    nodes = {one.process.pid for node in made.list_all_nodes() for one in node.all_processes.get("raylet", ())}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in nodes and kind.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def disturbed(command: Sequence[str], made: Any, every: float, most: float, store: Path, kills: Path) -> None:
    """Run a command on a cluster to its end, and kill one of its workers now and then once there is a store, `most` in all;
    kills: gets a line for each."""
    generator, killed = random.Random(0), 0
    with child(command) as driver, kills.open("a") as told:
        print(DRIVER, file=told, flush=True)
        last = time.monotonic()
        while driver.poll() is None:
            time.sleep(min(1.0, every / 4))
            due = killed < most and time.monotonic() - last >= every and store.exists()
            workers = actors_of(made) if due else []
            if workers:
                worker, last = generator.choice(workers), time.monotonic()
                os.kill(worker, signal.SIGKILL)
                killed += 1
                print(worker, file=told, flush=True)
    if driver.returncode:
        raise SystemExit(driver.returncode)


@stops_raised()
def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 where the rows differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.killed_workers")
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--photos", type=int, default=20_000, dest="count", help="how many are scored (20000)")
    parser.add_argument("--every", type=float, default=60, help="seconds between two kills (60)")
    parser.add_argument("--most", type=int, default=math.inf, help="how many are killed at most (no limit)")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.parent.name}/{RESULT.name} beside the benchmarks")
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    plain, own, kills = (given.folder / name for name in ("plain.db", "killed.db", "kills.txt"))
    run(line(given.photos, given.count, plain))
    with cluster() as made:
        disturbed(line(given.photos, given.count, own, "--ray", made.address), made, given.every, given.most, own, kills)
    told = kills.read_text().split()
    outcome = compared(rows_in(plain), rows_in(own), len(told) - told.count(DRIVER))
    found = {
        **asdict(outcome),
        "drivers": told.count(DRIVER),
        "nodes": NODES,
        "seconds_between_kills": given.every,
        "metrics": METRICS,
    }
    if given.write:
        RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))
    return 0 if outcome.same else 1


if __name__ == "__main__":
    sys.exit(main())
