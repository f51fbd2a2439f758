"""`xai audit` with its three cheap methods over `xai explain` of the same photos, and what clusters take for a thousand maps."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import xaicli
from benchmarks.figures import Figure
from benchmarks.timing import seconds
from xaicli.runs.audit import METHODS
from xaicli.survey.clusters import grouped

PHOTOS, SIDE = 1000, 256
MAPS = 1000
MOST = 1.2


def measure(rounds: int) -> list[Figure]:
    classifier = xaicli.load_classifier("tiny")
    maps = np.random.default_rng(0).dirichlet(np.full(256, 0.1), MAPS)
    with tempfile.TemporaryDirectory() as place:
        work, numbers = Path(place), itertools.count()
        write_photos(work / "photos")

        def audit() -> None:
            xaicli.audit(work / "photos", classifier, METHODS, output=work / str(next(numbers)))

        def explain() -> None:
            xaicli.explain(work / "photos", classifier, METHODS, output=work / str(next(numbers)))

        # Processor time of work so long that its first moments do not count.
        taken = [(seconds(audit, time.process_time), seconds(explain, time.process_time)) for _ in range(rounds)]
    ratio, bare = [one / other for one, other in taken], [other for _, other in taken]
    one_class = tuple(seconds(lambda: grouped(maps)) for _ in range(rounds))
    return [
        Figure(f"explaining {PHOTOS} photos by {len(METHODS)} methods, processor time", "s", tuple(bare)),
        Figure(f"an audit of {PHOTOS} photos by {len(METHODS)} methods over explaining them", "", tuple(ratio), MOST),
        Figure(f"groups of {MAPS} maps of one class, with their stability", "s", one_class),
    ]


def write_photos(folder: Path) -> None:
    """Smooth photos, each its own."""
    folder.mkdir()
    for number in range(PHOTOS):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
