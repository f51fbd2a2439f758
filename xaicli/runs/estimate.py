"""How long a scoring run takes: what `--estimate` says, from a few of its photos, scored here and thrown away."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from xaicli.errors import InputError
from xaicli.images.source import Source
from xaicli.method import AT_MOST
from xaicli.passes.device import threads
from xaicli.progress import Progress
from xaicli.results.store import Store
from xaicli.runs.passes_needed import PlannedTable, bounded_methods, per_photo
from xaicli.runs.photo_scores import score_photos
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import ScoreRun
from xaicli.untrusted import is_there
from xaicli.words import count, span

TRIED = 5
"""Photos that are scored; the first warms up and does not count, if there are others."""
LONG_ENOUGH = 20.0
"""Seconds after which no further photo is tried."""


def estimate_of(run: ScoreRun, path: Path | None, actors: int, threads_each: int | None, progress: Progress) -> PlannedTable:
    """The time that a run takes, from the median time of a photo.

    path: a store that may already hold part of the rows; actors: how many work at a time, each on `threads_each` threads (None:
    as this process does). Raises InputError if none of the tried photos can be scored.
    """
    todo = list(run.sources)
    if path is not None and is_there(path):
        with Store.open(path, write=False) as store:
            todo = run.incomplete(store, todo)
    with threads(threads_each):
        taken = seconds_a_photo(run, todo) if todo else []
    each = median(taken[1:] or taken or [0.0])
    whole = each * len(todo) / max(1, min(actors, len(todo)))
    row = {
        "model": run.classifier.name,
        "photos": len(run.sources),
        "to do": len(todo),
        "passes per photo": f"{AT_MOST if bounded_methods(run) else ''}{sum(per_photo(run).values()):g}",
        "seconds per photo": f"{each:.3g}",
        "actors": actors,
        "time": span(whole),
    }
    progress.row(row)
    by = f", by {count(actors, 'actor')} once they have begun" if actors > 1 else ""
    tried = max(1, len(taken) - 1)
    progress.say(f"about {span(whole)} for {count(len(todo), 'photo')}{by}: {span(each)} a photo, measured on {tried} here")
    return PlannedTable((run,), Store.in_memory(), (), planned=(row,))


def seconds_a_photo(run: ScoreRun, todo: list[Source]) -> list[float]:
    """Seconds of a few photos, spread over the run, each with its controls."""
    tried = todo[:: max(1, len(todo) // (TRIED + 1))][: TRIED + 1]
    own = replace(run, sources=tried, all_sources=tried)
    everything = np.ones(len(own.recipes), dtype=bool)
    taken: list[float] = []
    error = None
    start = last = time.monotonic()
    for result in score_photos(own, tried, lambda source, partner=None: everything):
        now = time.monotonic()
        if isinstance(result, Failure):
            error = result.error
        else:
            taken.append(now - last)
        last = now
        if now - start > LONG_ENOUGH or len(taken) > TRIED:
            break
    if not taken:
        raise error or InputError("none of the photos can be scored", expected="a photo to measure with")
    return taken
