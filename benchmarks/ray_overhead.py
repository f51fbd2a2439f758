"""What Ray adds to a long run: 20,000 photos by one actor over a plain run of as many threads, once its workers have begun.

Grad-CAM on `tiny`, scored by a curve of two steps, so that a photo takes little beside what Ray adds to it. Actor and driver
share the processors of the machine. The plain run is done before and after, each time over a quarter of the photos, so that a
drift of the machine's speed cancels. Seconds a photo are the slope of photos done over time without the first and the last
blocks; start-up is not in it. The run on Ray is also told in fifths: what it keeps of photos that are done would show as a
slower last fifth.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.ray_photos import photos
from benchmarks.ray_rate import OUTSIDE, arrivals_of
from xaicli.runs.score_request import ScoreRequest

PHOTOS = int(os.environ.get("XAI_BENCH_RAY_PHOTOS", "20000"))
FOLDER = os.environ.get("XAI_BENCH_RAY_FOLDER")
"""A folder of photos, Tiny ImageNet's say; smooth photos of the same size are made without it."""
METRIC = "deletion@steps=2"


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as made:
        if FOLDER is None:
            photos(Path(made), PHOTOS)
        folder = Path(FOLDER or made)
        runs = [(run(folder, PHOTOS // 4), run(folder, PHOTOS, on_ray=True), run(folder, PHOTOS // 4)) for _ in range(rounds)]
    ratios = [2 * seconds_a_photo(ray) / (seconds_a_photo(before) + seconds_a_photo(after)) for before, ray, after in runs]
    grown = [growth(ray) for _, ray, _ in runs]
    return [
        Figure(f"{PHOTOS:,} photos: one actor over a plain run, seconds a photo", "", tuple(ratios), limit=1.1),
        Figure(f"{PHOTOS:,} photos on Ray: the last fifth over the second, seconds a photo", "", tuple(grown), limit=1.1),
    ]


def run(folder: Path, count: int, *, on_ray: bool = False) -> np.ndarray:
    """When each photo was done."""
    request = ScoreRequest(images=str(folder), recursive=True, limit=count, method="grad-cam", metric=METRIC, controls=False)
    return np.asarray(arrivals_of(request, len(os.sched_getaffinity(0)), 1 if on_ray else None))


def seconds_a_photo(done: np.ndarray) -> float:
    inside = np.arange(len(done))[OUTSIDE:-OUTSIDE]
    return float(np.polyfit(inside, done[inside], 1)[0])


def growth(done: np.ndarray) -> float:
    second, last = (part[-1] - part[0] for part in (np.array_split(done, 5)[at] for at in (1, 4)))
    return float(last / second)
