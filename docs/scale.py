"""Generate the tables of docs/scale.md: `python -m docs.scale`, from what `python -m benchmarks ray ray-memory ray-overhead
--write` measured and `python -m tools.killed_workers` found.

A job is simulated block by block: actors take blocks, each photo takes one of the measured times, and one driver takes the
results one after the other, at its measured rate. An actor goes on when its result is taken.
"""

from __future__ import annotations

import heapq
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ray import COLUMNS
from xaicli.runs.cluster.blocks import LARGEST_BLOCK
from xaicli.runs.cluster.stream import part_of
from xaicli.words import span

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
MEASURED, MEMORY, KILLED = RESULTS / "ray.json", RESULTS / "ray-memory.json", RESULTS / "ray_killed.json"
LONG = RESULTS / "ray-overhead.json"
FROM, TO = "<!-- scale: python -m docs.scale -->\n", "<!-- end of scale -->\n"
PHOTOS, ROWS = 1_000_000, 2 * COLUMNS
ACTORS = (1, 3, 10, 30, 100, 300, 1_000, 2_000, 4_000)
START = 20.0
"""Seconds until the actors of a cluster have opened their models."""
LIMIT = 0.9
"""The driver is the limit where it works this share of the time."""


@dataclass(frozen=True)
class Measured:
    """seconds: of photos; rows, told: a second, of the driver; store, files: bytes a row; listed, plan: bytes a photo; two: the
    rate of two actors over a plain run of two threads."""

    seconds: tuple[float, ...]
    rows: float
    store: float
    told: float
    files: float
    listed: float
    plan: float
    two: float | None = None

    @classmethod
    def read(cls, path: Path = MEASURED) -> Measured:
        figures = json.loads(path.read_text("utf-8"))["figures"]
        assert [figure["unit"] for figure in figures[:7]] == ["s", "rows/s", "B", "photos/s", "B", "B", "B"]
        return cls(tuple(figures[0]["values"]), *(figure["median"] for figure in figures[1:]))


def simulated(actors: int, cost: float, seconds: tuple[float, ...], photos: int = PHOTOS) -> tuple[float, float]:
    """Seconds of a job, and the share of them in which the driver works; cost: its seconds for a photo."""
    generator = np.random.default_rng(0)
    part = LARGEST_BLOCK * part_of(actors)
    end = 0.0
    for first in range(0, photos, part):
        last = min(first + part, photos)
        free = [end + START] * actors
        for start in range(first, last, LARGEST_BLOCK):
            size = min(LARGEST_BLOCK, last - start)
            begun = heapq.heappop(free)
            done = begun + float(generator.choice(seconds, size).sum())
            # The driver takes blocks about in the order in which they are begun; an actor goes on when its result is taken.
            end = max(end, done) + cost * size
            heapq.heappush(free, max(done, end - cost * size))
        end = max(end, *free)
    return end, cost * photos / end


def page(text: str, measured: Measured) -> str:
    """The page with its tables made anew."""
    before, _, rest = text.partition(FROM)
    _, _, after = rest.partition(TO)
    return "".join([before, FROM, "\n", "\n".join(tables(measured)), "\n\n", TO, after])


def tables(measured: Measured) -> list[str]:
    cost, told = ROWS / measured.rows, 1 / measured.told
    photo = float(np.mean(measured.seconds))
    lines = [
        "| measured, on one thread | |",
        "|---|---|",
        f"| a photo: ten methods, two metrics, all controls ({ROWS} rows), on `tiny` | {photo:.2f} s |",
        f"| rows that the driver reads and writes into a store | {measured.rows:,.0f} a second |",
        f"| photos of which the driver only hears, with `--sink` | {measured.told:,.0f} a second |",
        f"| growth of the store, with curves | {measured.store:,.0f} bytes a row |",
        f"| growth of Parquet files, with curves | {measured.files:,.0f} bytes a row |",
        f"| the list of photos with their contents, in memory, with and without Ray | {measured.listed:,.0f} bytes a photo |",
        f"| what the driver keeps beside that list | {measured.plan:,.0f} bytes a photo |",
        *growth(),
        *rates(measured),
        *long_run(),
        "",
        *disturbance(),
        "",
        f"{PHOTOS:,} photos, simulated ({PHOTOS * ROWS / 1e6:,.0f} million rows; a store of "
        f"{PHOTOS * ROWS * measured.store / 2**30:,.0f} GiB, or Parquet files of "
        f"{PHOTOS * ROWS * measured.files / 2**30:,.0f} GiB). *The driver works* is the share of the time in which it is busy:",
        "",
        "| actors | into a store | the driver works | with `--sink` | the driver works |",
        "|---|---|---|---|---|",
    ]
    limit = None
    for actors in ACTORS:
        end, share = simulated(actors, cost, measured.seconds)
        aside, share_aside = simulated(actors, told, measured.seconds)
        limit = limit or (actors if share >= LIMIT else None)
        lines.append(f"| {actors:,} | {span(end)} | {share:.0%} | {span(aside)} | {share_aside:.0%} |")
    reach = f"At {limit:,} actors the driver's store is the limit" if limit else "The driver's store is nowhere the limit"
    return [
        *lines,
        "",
        f"{reach}: one driver keeps up with about {photo / cost:,.0f} actors at {photo:.2f} s a photo, and with more where "
        f"a photo takes longer. With `--sink` it keeps up with about {photo / told:,.0f}.",
    ]


def rates(measured: Measured) -> list[str]:
    """What Ray costs once its workers have begun, where it was measured."""
    two = "two actors of one thread each, over a plain run of two threads"
    return [f"| {two} | {measured.two:.2f} x the photos a second |"] if measured.two is not None else []


def long_run() -> list[str]:
    """What Ray costs in a long run, where it was measured, and whether photos late in a run take longer than early ones."""
    if not LONG.exists():
        return []
    figures = json.loads(LONG.read_text("utf-8"))["figures"]
    return [f"| {figure['what']} | {figure['median']:.2f} x |" for figure in figures]


def growth() -> list[str]:
    """How the memory of the driver grows while a run goes on, where it was measured."""
    if not MEMORY.exists():
        return []
    [figure] = json.loads(MEMORY.read_text("utf-8"))["figures"]
    return [f"| growth of the driver's memory while photos are done | {figure['median']:,.0f} bytes a photo |"]


def disturbance() -> list[str]:
    """What the run came to whose workers were killed."""
    found = json.loads(KILLED.read_text("utf-8"))
    differ = found["missing"] + found["further"] + found["other"]
    numbers = f"no number differs by more than {found['largest_difference']:.1g}"
    again = found["drivers"] - 1
    times = {0: "", 1: " The driver ended once, too, and the same command went on from there."}
    driver = times.get(again, f" The driver ended {again} times, too, and the same command went on each time.")
    return [
        "Does a run lose or change rows when workers die? Grad-CAM maps of "
        f"{found['photos']:,} photos of Tiny ImageNet on `tiny`, with the control `other`, were scored by `{found['metrics']}` "
        f"twice: in a plain run, and on a cluster of {found['nodes']} nodes of one machine, where one worker was killed "
        f"(SIGKILL) every {found['seconds_between_kills']:.0f} seconds, {found['killed']} in all.{driver} Of {found['rows']:,} "
        f"rows, {differ:,} are missing, too many, or differ in a stamp, and "
        f"{numbers if found['largest_difference'] else 'all numbers are equal'}. The command for this comparison is "
        "`python -m tools.killed_workers PHOTOS FOLDER`.",
    ]


def main() -> int:
    path = HERE / "scale.md"
    path.write_text(page(path.read_text("utf-8"), Measured.read()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
