"""How many passes a scoring run takes, and how long: what `--dry-run` says, from a short measurement."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from xaicli.method import AT_MOST
from xaicli.network.any_target import with_any_target
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.progress import Progress
from xaicli.results.store import Store
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.score_table import ScoreTable
from xaicli.tabular import Tabular
from xaicli.untrusted import is_there
from xaicli.words import count, span

MEASURED = 0.5
"""Approximate seconds for measuring a pass."""
INPUTS = 8
"""Inputs per pass of the measurement."""
CONTROLS = "controls"
BACKWARD = 2.0
"""The cost of a backward pass in forward passes."""


@dataclasses.dataclass(frozen=True)
class PlannedTable(ScoreTable):
    """What a run would do: a record for each method, and one for the controls."""

    planned: tuple[dict[str, Any], ...] = ()

    @property
    def shown(self) -> list[str]:
        return list(self.planned[0])

    def records(self) -> list[dict[str, Any]]:
        return list(self.planned)

    def render(self, format: str = "table", *, width: int = 0) -> str:
        return Tabular.render(self, format, width=width)


def plan_of(runs: Sequence[ScoreRun], path: Path | None, progress: Progress) -> PlannedTable:
    """The passes and the time that runs would take; path: a store that may already hold part of the rows."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        todo = len(run.sources)
        if path is not None and is_there(path):
            with Store.open(path, write=False) as store:
                todo = len(run.incomplete(store, run.sources))
        seconds = seconds_a_pass(run.classifier)
        bounded = bounded_methods(run)
        own = [
            row_of(run, label, explaining, scoring, todo, seconds, AT_MOST if label in bounded else "")
            for label, (explaining, scoring) in per_method(run).items()
        ]
        for row in own:
            progress.row(row)
        rows += own
        progress.say(passes_in_words(run))
        total = sum(per_photo(run).values()) * todo * seconds
        rate = f"{1 / seconds:,.0f} a second; a backward pass counts as {BACKWARD:g}"
        about = "at most" if bounded else "about"
        progress.say(f"{run.classifier.name}: {about} {span(total)}, if all passes are as fast as plain forward passes ({rate})")
    return PlannedTable(tuple(runs), Store.in_memory(), (), planned=tuple(rows))


def row_of(run: ScoreRun, label: str, explaining: float, scoring: float, todo: int, seconds: float, most: str) -> dict[str, Any]:
    """A method's record; most: what stands before numbers of passes that are an upper bound."""
    passes = explaining + scoring
    return {
        "model": run.classifier.name,
        "method": label,
        "photos": len(run.sources),
        "to do": todo,
        "explaining": f"{most}{explaining:g}",
        "scoring": f"{scoring:g}",
        "passes per photo": f"{most}{passes:g}",
        "passes": f"{most}{passes * todo:g}",
        "time": f"{most}{span(passes * todo * seconds)}",
    }


def per_method(run: ScoreRun) -> dict[str, tuple[float, float]]:
    """Forward passes per photo, to explain and to score, by method; all controls together are one entry."""
    scoring = sum(metric.passes(run.classifier.view.size) for metric in run.metrics)
    costs = {method.label: method.cost(run.classifier) for method in run.methods}
    found = {label: (cost.forward + BACKWARD * cost.backward, scoring) for label, cost in costs.items()}
    found |= {maps.label: (0.0, scoring) for maps in run.given_maps}
    controls = [explainer.label.partition("@")[0] for explainer in run.explainers if explainer.control]
    if controls:
        found[f"{CONTROLS} ({', '.join(dict.fromkeys(controls))})"] = (0.0, scoring * len(controls))
    return found


def bounded_methods(run: ScoreRun) -> set[str]:
    """The labels of methods that may take fewer passes than is said."""
    return {method.label for method in run.methods if method.cost(run.classifier).at_most}


def per_photo(run: ScoreRun) -> dict[str, float]:
    """Forward passes per photo, by method and for all controls."""
    return {label: explaining + scoring for label, (explaining, scoring) in per_method(run).items()}


def passes_in_words(run: ScoreRun) -> str:
    """The cost of a photo, and the share of the controls in it."""
    passes = per_photo(run)
    total, without = sum(passes.values()), sum(taken for label, taken in passes.items() if not label.startswith(CONTROLS))
    line = f"{'at most' if bounded_methods(run) else 'about'} {count(round(total), 'pass', 'passes')} per photo"
    if without and total > without:
        line += f", {total / without:.1f} times those without controls (--controls random,center or --no-controls for fewer)"
    return line


def seconds_a_pass(classifier: Classifier) -> float:
    """Seconds per input when several inputs run in one pass."""
    inputs = torch.zeros(INPUTS, classifier.view.channels, *classifier.view.size, device=classifier.device)
    classifier = with_any_target(classifier, inputs)
    clean_logits(classifier, inputs)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < MEASURED:
        # Reading a number waits until the device has finished.
        float(clean_logits(classifier, inputs).sum())
        done += INPUTS
    return (time.perf_counter() - start) / done
