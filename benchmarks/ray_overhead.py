"""What Ray adds to a long run: the same photos by one actor of a thread over a plain run of one thread, once workers have begun.

Seconds a photo are the slope of photos done over time without the first and the last blocks; start-up is not in it. Each run is
also told in fifths: what a run keeps of photos that are done would show as a slower last fifth.
"""

from __future__ import annotations

import os
import tempfile
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
        pairs = [[run(folder, on_ray=on_ray) for on_ray in (False, True)] for _ in range(rounds)]
    ratios = [seconds_a_photo(ray) / seconds_a_photo(plain) for plain, ray in pairs]
    return [
        Figure(
            f"one actor over a plain run of one thread, {len(pairs[0][1]):,} photos, seconds a photo",
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


def run(folder: Path, *, on_ray: bool) -> np.ndarray:
    """When each photo was done. Without controls, so that a photo takes little beside what Ray adds to it."""
    return np.asarray(arrivals_of(folder, 1, on_ray=on_ray, limit=PHOTOS, controls=False))


def seconds_a_photo(done: np.ndarray) -> float:
    inside = np.arange(len(done))[OUTSIDE:-OUTSIDE]
    return float(np.polyfit(inside, done[inside], 1)[0])


def growth(done: np.ndarray) -> float:
    second, last = (part[-1] - part[0] for part in (np.array_split(done, 5)[at] for at in (1, 4)))
    return float(last / second)
