"""Which planted faults `xai parity` finds in real networks, and how often it alarms at a faithful export.

Every fault is looked for on one set of photos, every faithful export on one, and the eight bits of the static quantiser, whose
maps are not those of the original to the last digit, on one more set a round. Weights and photos are those in the folder
XAI_ASSETS.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.planted import FAITHFUL, FAULTS, NETWORKS, Make, Original
from xaicli.gate.measure import ReadySuite
from xaicli.gate.parity import Original as OriginalRun
from xaicli.gate.parity import ParityOutcome, run_original, run_pair
from xaicli.gate.parity_verdicts import judge_pair
from xaicli.images.source import Source
from xaicli.registry import make_method, make_metric
from xaicli.runs.parity import ready_for

PHOTOS = 12
METHOD, METRIC = "occlusion@window=56@stride=28", "insertion@steps=5"
AGAIN = "static int8"
MOST_ALARMS = 0.05


def measure(rounds: int) -> list[Figure]:
    assets = Path(os.environ.get("XAI_ASSETS", "../shared/assets"))
    figures: list[Figure] = []
    alarms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            original = Original(name, assets, Path(folder) / name)
            sets = [explained(original, number) for number in range(rounds)]
            for kind, makes in (("fault", FAULTS), ("faithful", FAITHFUL)):
                for what, make in makes.items():
                    outcomes = [compared(original, made, make) for made in (sets if what == AGAIN else sets[:1])]
                    figures += figures_of(f"{name}; {kind}; {what}", kind, outcomes)
                    alarms += [float(outcome.failed()) for outcome in outcomes] if kind == "faithful" else []
                    print(*figures[-5:], sep="\n", file=sys.stderr, flush=True)
    return [*figures, Figure("false alarms at faithful exports", "share", (float(np.mean(alarms)),), limit=MOST_ALARMS)]


def explained(original: Original, number: int) -> tuple[ReadySuite, OriginalRun]:
    """The original on one set of photos; no photo is in two sets."""
    step = len(original.photos) // PHOTOS
    chosen = original.photos[2 * number % step :: step][:PHOTOS]
    photos = [Source.of_file(path) for path in chosen]
    ready = ready_for(original.classifier, photos, [make_method(METHOD)], [make_metric(METRIC)], "top1", number)
    return ready, run_original(ready)


def compared(original: Original, made: tuple[ReadySuite, OriginalRun], make: Make) -> ParityOutcome:
    ready, run = made
    other = replace(ready, classifier=make(original))
    return judge_pair(run.ready, other, run_pair(run, other), ready.rules)


def figures_of(what: str, kind: str, outcomes: list[ParityOutcome]) -> list[Figure]:
    """Whether it was found, and what moved, one value a set of photos."""
    photos = [outcome.compared for outcome in outcomes]
    found = tuple(float(outcome.failed()) for outcome in outcomes)
    measures = {
        "decision moved": [sum(one.state == "decision moved" for one in part) for part in photos],
        "looks elsewhere": [sum(one.state == "looks elsewhere" for one in part) for part in photos],
        "probability": [np.mean([one.probabilities[1] - one.probabilities[0] for one in part]) for part in photos],
        "correlation": [np.mean([one.agreements[one.worst].found.spearman for one in part]) for part in photos],
    }
    figures = [Figure(f"{what}; {name}", "", tuple(map(float, values))) for name, values in measures.items()]
    return [Figure(f"{what}; found", "", found, least=1.0 if kind == "fault" else None), *figures]
