"""What Ray adds to a long run: the same photos on a cluster of one processor over a plain run on it, once workers have begun.

All that Ray needs runs on that processor too: the driver, the actor, and Ray's own processes.

Seconds a photo are the slope of photos done over time without the first and the last blocks; start-up is not in it. Each run is
also told in fifths: what a run keeps of photos that are done would show as a slower last fifth.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.ray_photos import photos
from benchmarks.ray_rate import OUTSIDE, arrivals_of

PHOTOS = int(os.environ.get("XAI_BENCH_RAY_PHOTOS", "20000"))
FOLDER = os.environ.get("XAI_BENCH_RAY_FOLDER")
"""A folder of photos, Tiny ImageNet's say; smooth photos of the same size are made without it."""


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as made:
        if FOLDER is None:
            photos(Path(made), PHOTOS)
        folder = Path(FOLDER or made)
        with one_processor():
            pairs = [[run(folder, on_ray=on_ray) for on_ray in (False, True)] for _ in range(rounds)]
    ratios = [seconds_a_photo(ray) / seconds_a_photo(plain) for plain, ray in pairs]
    return [
        Figure(
            f"{len(pairs[0][1]):,} photos on one processor: Ray over a plain run, seconds a photo",
            "",
            tuple(ratios),
            limit=1.1,
        ),
        *(
            Figure(
                f"{name}: the last fifth over the second, seconds a photo",
                "",
                tuple(growth(pair[at]) for pair in pairs),
                limit=1.1,
            )
            for at, name in enumerate(("a plain run", "on Ray"))
        ),
    ]


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """This process, and those that it starts, on the first processor that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(folder: Path, *, on_ray: bool) -> np.ndarray:
    """When each photo was done. Without controls, so that a photo takes little beside what Ray adds to it."""
    return np.asarray(arrivals_of(folder, 1, on_ray=on_ray, limit=PHOTOS, controls=False))


def seconds_a_photo(done: np.ndarray) -> float:
    inside = np.arange(len(done))[OUTSIDE:-OUTSIDE]
    return float(np.polyfit(inside, done[inside], 1)[0])


def growth(done: np.ndarray) -> float:
    second, last = (part[-1] - part[0] for part in (np.array_split(done, 5)[at] for at in (1, 4)))
    return float(last / second)
