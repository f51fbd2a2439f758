"""Which planted faults `xai parity` finds in real networks, and how often it alarms at a faithful export.

Every fault is looked for on one set of photos; every faithful export is compared on it and, with other seeds, on a small set of
its own a round. A run that was stopped goes on from `benchmarks/results/parity.partial.jsonl`, which is removed when all is
measured. Weights and photos are those in the folder XAI_ASSETS.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
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

FIRST, FURTHER = 12, 4
"""Photos of the first set, and of each further."""
METHOD, METRIC = "occlusion@window=56@stride=28", "insertion@steps=5"
REALLY_MOVED = {("deit_tiny_patch16_224", "static int8")}
"""An export that decides as its network does, and whose maps are others: no alarm at it is false."""
MOST_ALARMS = 0.05
PARTIAL = Path(__file__).parent / "results" / "parity.partial.jsonl"
MEASURES = ("found", "decision moved", "looks elsewhere", "probability", "correlation")


@dataclass(frozen=True)
class Comparison:
    """One export of one network on one set of photos."""

    network: str
    kind: str
    what: str
    number: int

    @property
    def title(self) -> str:
        return f"{self.network}; {self.kind}; {self.what}"


def order_of(one: Comparison) -> tuple[int, bool]:
    """Networks in their order, of each the faults first."""
    return list(NETWORKS).index(one.network), one.kind != "fault"


def comparisons(rounds: int) -> list[Comparison]:
    """All that is measured, by round, so that a run that is stopped has every export once before any twice."""
    listed = [Comparison(name, "fault", what, 0) for name in NETWORKS for what in FAULTS]
    listed += [
        Comparison(name, "faithful", what, number)
        for number in range(rounds)
        for name in NETWORKS
        for what in FAITHFUL
        if (name, what) not in REALLY_MOVED
    ]
    return listed


def measure(rounds: int) -> list[Figure]:
    assets = Path(os.environ.get("XAI_ASSETS", "../shared/assets"))
    done = read_partial()
    with tempfile.TemporaryDirectory() as folder:
        make_original, make_set = lru_cache(None)(Original), lru_cache(2)(explained)
        for one in comparisons(rounds):
            if one not in done:
                original = make_original(one.network, assets, Path(folder) / one.network)
                outcome = compared(original, make_set(original, one.number), (FAULTS | FAITHFUL)[one.what])
                done[one] = values_of(outcome)
                line = json.dumps({**asdict(one), **done[one]})
                print(line, file=sys.stderr, flush=True)
                with PARTIAL.open("a") as file:
                    file.write(line + "\n")
    figures = figures_of({one: done[one] for one in comparisons(rounds)})
    PARTIAL.unlink(missing_ok=True)
    return figures


def read_partial() -> dict[Comparison, dict[str, float]]:
    """What a run that was stopped has measured."""
    if not PARTIAL.is_file():
        return {}
    lines = [json.loads(line) for line in PARTIAL.read_text().splitlines()]
    return {
        Comparison(*(line[field.name] for field in fields(Comparison))): {name: line[name] for name in MEASURES} for line in lines
    }


def explained(original: Original, number: int) -> tuple[ReadySuite, OriginalRun]:
    """The original on one set of photos; no photo is in two sets, and none was used to calibrate eight bits."""
    every = original.photos[::2]
    first, rest = every[:: len(every) // FIRST][:FIRST], [path for at, path in enumerate(every) if at % (len(every) // FIRST)]
    sets = len(rest) // FURTHER
    chosen = first if number == 0 else rest[number % sets :: sets][:FURTHER]
    photos = [Source.of_file(path) for path in chosen]
    ready = ready_for(original.classifier, photos, [make_method(METHOD)], [make_metric(METRIC)], "top1", number)
    return ready, run_original(ready)


def compared(original: Original, made: tuple[ReadySuite, OriginalRun], make: Make) -> ParityOutcome:
    ready, run = made
    other = replace(ready, classifier=make(original))
    return judge_pair(run.ready, other, run_pair(run, other), ready.rules)


def values_of(outcome: ParityOutcome) -> dict[str, float]:
    """Whether it was found, and what moved; probability and correlation are means over the photos."""
    photos = outcome.compared
    return {
        "found": float(outcome.failed()),
        "decision moved": float(sum(one.state == "decision moved" for one in photos)),
        "looks elsewhere": float(sum(one.state == "looks elsewhere" for one in photos)),
        "probability": float(np.mean([one.probabilities[1] - one.probabilities[0] for one in photos])),
        "correlation": float(np.mean([one.agreements[one.worst].found.spearman for one in photos])),
    }


def figures_of(done: dict[Comparison, dict[str, float]]) -> list[Figure]:
    """A figure for each network, export and measure, one value a set of photos; and the share of false alarms."""
    figures: list[Figure] = []
    for title in dict.fromkeys(one.title for one in sorted(done, key=order_of)):
        sets = [one for one in done if one.title == title]
        for name in MEASURES:
            least = 1.0 if name == "found" and sets[0].kind == "fault" else None
            figures.append(Figure(f"{title}; {name}", "", tuple(done[one][name] for one in sets), least=least))
    alarms = float(np.mean([found["found"] for one, found in done.items() if one.kind == "faithful"]))
    return [*figures, Figure("false alarms at faithful exports", "share", (alarms,), limit=MOST_ALARMS)]
