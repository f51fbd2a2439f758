"""What Ray costs once its workers have begun: the rate of a run on a cluster of this machine over that of a plain run.

Both score the same photos with Grad-CAM and short curves on `tiny`; a rate is the slope of photos done over time, without the
first and the last blocks. Two actors of one thread each stand against a plain run of two threads.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure
from benchmarks.ray_photos import photos
from xaicli.progress import SILENT
from xaicli.results.store import Store
from xaicli.runs.cluster.blocks import LARGEST_BLOCK
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.workplace import ClusterWords, Workplace

METRICS = "deletion@steps=4,insertion@steps=4"
PHOTOS, OUTSIDE = 10 * LARGEST_BLOCK, 2 * LARGEST_BLOCK
"""Photos of a run, and how many at its beginning and at its end do not count."""


def figures(rounds: int) -> list[Figure]:
    """Each round: plain, on Ray, on Ray, plain, so that a drift of the machine's speed cancels."""
    with tempfile.TemporaryDirectory() as folder:
        photos(Path(folder), PHOTOS)
        two = tuple(pair(Path(folder), 2) for _ in range(rounds))
    return [Figure("two actors of a thread each over a plain run of two threads, photos a second", "", two, least=0.9)]


def pair(folder: Path, threads: int) -> float:
    first, second, third, fourth = (rate(folder, threads, on_ray=on_ray) for on_ray in (False, True, True, False))
    return (second + third) / (first + fourth)


def rate(folder: Path, threads: int, *, on_ray: bool) -> float:
    """Photos a second of one run, on as many actors as threads."""
    done = arrivals_of(ScoreRequest(images=str(folder), method="grad-cam", metric=METRICS), threads, threads if on_ray else None)
    middle = np.arange(len(done))[OUTSIDE:-OUTSIDE]
    return float(np.polyfit(np.asarray(done)[OUTSIDE:-OUTSIDE], middle, 1)[0])


def arrivals_of(request: ScoreRequest, threads: int, actors: int | None = None) -> list[float]:
    """When each photo of a run on `tiny` was done. actors: how many on Ray, which share the processors; None for a plain run."""
    words = ClusterWords("local", actors) if actors else ClusterWords()
    torch.set_num_threads(1 if actors else threads)
    with tempfile.TemporaryDirectory() as there, words.workplace("tiny", "top1", SILENT) as workplace:
        return list(arrivals(request.run("tiny"), Path(there, "scores.db"), workplace))


def arrivals(run: ScoreRun, path: Path, workplace: Workplace) -> Iterator[float]:
    with Store.open(path) as store, closing(workplace.results(run, store)) as results:
        for result in results:
            if isinstance(result, Failure):
                raise result.error
            yield time.perf_counter()
