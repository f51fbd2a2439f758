"""`xaicli.verify`: are these the maps and scores that their records say, made again."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.errors import InputError, UsageError
from xaicli.progress import SILENT, Progress
from xaicli.results.store import Store
from xaicli.runs.evidence import no_records, require_there, unpacked
from xaicli.runs.open_model import Model
from xaicli.runs.remade import RESULTS, ModelsAtHand, PhotosAtHand, Remade, Result
from xaicli.runs.remade_maps import KeptResult, read_results, remake_maps
from xaicli.runs.remade_scores import KeptScore, remake_scores
from xaicli.tabular import Tabular
from xaicli.text_table import rendered
from xaicli.untrusted import entries_of, is_file, is_folder, opened
from xaicli.words import count
from xaicli.writable_text import json_text, writable

SQLITE = b"SQLite format 3\0"
ZIP = b"PK"
WANTED = "a folder of xai explain, a store of xai score, or a zip of xai bundle"
PLANTED = re.compile(r"xai( -\S+)* trust\b")
"""How the command begins of runs that plant what they measure."""


@dataclass(frozen=True, eq=False)
class Verified(Tabular):
    """What became of each result that was made again, the worst first. every: the table lists them all, also those that are the
    same."""

    made: tuple[Remade, ...]
    every: bool = False

    columns = ("result", "image", "method", "target", "metric", "why")

    def records(self) -> list[dict[str, Any]]:
        ordered = sorted(self.made, key=lambda one: RESULTS.index(one.result))
        return [one.record() for one in ordered]

    @property
    def counts(self) -> dict[Result, int]:
        found = Counter(one.result for one in self.made)
        return {result: found[result] for result in RESULTS}

    @property
    def failed(self) -> bool:
        """Whether a result differs."""
        return self.counts["differs"] > 0

    @property
    def incomplete(self) -> bool:
        """Whether a result could not be made."""
        return self.counts["cannot be made"] > 0

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """A line for each result that differs and for each reason why others cannot be made, with counts of all; in csv and json
        all of them."""
        if format == "json":
            return json_text({"counts": self.counts, "results": self.rows})
        if format == "csv":
            return rendered(self.rows, format, list(self.columns))
        shown = self.rows if self.every else self.noteworthy
        table = rendered(shown, format, list(self.columns), width=width) if shown else ""
        return f"{table}\n{self.conclusion}".strip()

    @property
    def noteworthy(self) -> list[dict[str, Any]]:
        """The records of results that differ, and one for all that cannot be made for the same reason."""
        apart = [row for row in self.rows if row["result"] == "differs"]
        missing = [row for row in self.rows if row["result"] == "cannot be made"]
        for why, number in Counter(row["why"] for row in missing).items():
            together = {"result": "cannot be made", "image": count(number, "result"), "why": why}
            apart += [row for row in missing if row["why"] == why] if number == 1 else [together]
        return apart

    @property
    def conclusion(self) -> str:
        parts = [f"{number} {result}" for result, number in reversed(self.counts.items()) if number]
        return f"{count(len(self.made), 'result')} checked: {', '.join(parts)}{self.tolerated}"

    @property
    def tolerated(self) -> str:
        """How far the results that are the same within tolerance are off, the worst of them."""
        near = [one for one in self.made if one.result == "same within tolerance"]
        worst = {kind: max((one.off for one in near if bool(one.metric) is kind), default=None) for kind in (False, True)}
        maps = [] if worst[False] is None else [f"maps by up to {worst[False]:.1e} of their range"]
        scores = [] if worst[True] is None else [f"scores by up to {worst[True]:.1e}"]
        return f" ({', '.join([*maps, *scores])})" if near else ""


def verify(
    path: str | Path | Sequence[str | Path],
    classifier: Model = None,
    *,
    photos: str | Path | Sequence[str | Path] = (),
    sample: int | None = None,
    seed: int = 0,
    weights: str | Path | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Progress = SILENT,
) -> Verified:
    """Make maps or scores again from their records, and say for each whether it is the same.

    path: a folder of `xai explain`, a store of `xai score`, a zip of `xai bundle`, or several. classifier, weights: the model, in
    place of those that records name; photos: folders in which photos are looked up by content, besides their recorded paths.
    sample: make so many only, chosen by `seed`. trust: let code run that a record names as model or method, and download its
    weights. Raises UsageError or InputError if nothing can be read; what cannot be made is a result.

        assert not xaicli.verify("xai-out/").failed
    """
    if sample is not None and sample < 1:
        raise UsageError(f"a sample of {sample}", expected="at least 1")
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    folders = [photos] if isinstance(photos, str | Path) else photos
    options: dict[str, Any] = {"device": device} | ({"weights": str(weights)} if weights is not None else {})
    for folder in folders:
        entries_of(Path(folder), "a folder of photos")
    at_hand, models = PhotosAtHand([str(folder) for folder in folders]), ModelsAtHand(classifier, trust, options, progress)
    with ExitStack() as stack:
        kept = [one for path in paths for one in read_evidence(path, stack)]
        if not kept:
            raise no_records("verify", paths)
        chosen = sampled(kept, sample, seed)
        made: list[Remade] = [one for one in chosen if isinstance(one, Remade)]
        results = [one for one in chosen if isinstance(one, KeptResult)]
        scores = [one for one in chosen if isinstance(one, KeptScore)]
        made_again: list[KeptResult | KeptScore] = [*results, *scores]
        if made_again:
            models.check(made_again[0].precision)
        with progress.task("verifying", len(results) + len(scores)) as step:
            for one in remake_maps(results, at_hand, models):
                made.append(one)
                step()
            for one in remake_scores(scores, at_hand, models):
                made.append(one)
                step()
    return Verified(tuple(made))


Kept = KeptResult | KeptScore | Remade


def read_evidence(path: Path, stack: ExitStack) -> Iterator[Kept]:
    """The results in a folder, a store or a zip; what a zip unpacks to lives as long as `stack`."""
    require_there(path, WANTED)
    if is_folder(path):
        yield from read_folder(path)
        return
    with opened(path, "a store or a zip") as file:
        start = file.read(len(SQLITE))
    if start == SQLITE:
        yield from read_store(path)
    elif start.startswith(ZIP):
        yield from read_folder(stack.enter_context(unpacked(path)), within=True)
    else:
        raise InputError(f"{path} is none of what xai verify reads", expected=WANTED)


def read_folder(folder: Path, *, within: bool = False) -> Iterator[Kept]:
    """The maps in a folder and its folders; of a zip, its stores too."""
    sidecars = sorted(path for path in folder.rglob("*.json") if is_file(path) and is_file(path.with_suffix(".npy")))
    yield from read_results(folder, sidecars)
    if within:
        for path in sorted(folder.rglob("*.db")):
            yield from read_store(path)


def read_store(path: Path) -> Iterator[KeptScore]:
    """The rows of a store, those of the control `other` apart, whose maps belong to other photos."""
    with Store.open(path, write=False) as store:
        planted = store.keys_of_runs(lambda run: PLANTED.match(run.command) is not None)
        models, recipes = store.models(), {recipe.definition: recipe for recipe in store.recipes()}
        for row in store.rows():
            recipe = recipes[row.definition]
            if not recipe.has_partner:
                key = row.definition, row.subject, row.seed
                yield KeptScore(row, recipe, models.get(row.model, ""), key in planted)


def sampled(kept: list[Kept], sample: int | None, seed: int) -> list[Kept]:
    """So many of them, in their order; which, depends on their names and the seed alone."""
    if sample is None or sample >= len(kept):
        return kept
    keys = [hashlib.sha256(writable(f"{seed}/{name_of(one)}").encode()).digest() for one in kept]
    chosen = set(sorted(range(len(kept)), key=lambda at: keys[at])[:sample])
    return [one for at, one in enumerate(kept) if at in chosen]


def name_of(one: Kept) -> str:
    return f"{one.row.definition}/{one.row.subject}/{one.row.seed}" if isinstance(one, KeptScore) else one.name
