"""What the model card says of a bundled network: its accuracy, and the scores of what explains it, on held-out photos."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from docs.stored_rows import Column
from tools import default_methods
from xaicli.images.truth import Truth, read_truth
from xaicli.method import Method
from xaicli.metric import Quantity, ValueKind
from xaicli.models.checkpoint import BUNDLED
from xaicli.models.checkpoint_content import hash_as_trained
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method, make_metrics
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.results.summary import Group, summarise
from xaicli.runs.controls import CONTROL_NAMES
from xaicli.runs.score_request import expecting
from xaicli.runs.score_run import ScoreRun
from xaicli.stamps import stamp
from xaicli.suitability import unfit
from xaicli.training.batches import held_out
from xaicli.training.data import Listing
from xaicli.training.decoded import open_photos
from xaicli.training.held_out_scores import HeldOutScores

RIVALS = ("grad-cam", "rise@n_masks=1000", "attention-rollout", "daam")
METRICS = ("insertion", "deletion", "average-drop@area=50@mask=binary", "increase-in-confidence@area=50@mask=binary")
WITH_TRUTH = "energy-pointing-game"
COSTLY, PART = 200, 5
"""A method of more forward passes a photo than this is scored on one photo of five."""
BATCH = 128
HITS = Quantity(ValueKind.BINARY, 0.0, 1.0)
BOXES = "boxes.csv"


@dataclass(frozen=True, eq=False)
class CardScores:
    """What was measured of a network.

    first, five: shares of photos decided rightly, first and among the first five; group: scores of the methods; candidates:
    insertion of the methods among which the default is chosen; photos: the fingerprint of the photos they were scored on.
    """

    first: Estimate
    five: Estimate
    group: Group
    candidates: list[Column]
    photos: str


def measure(classifier: Classifier, methods: Sequence[str], listing: Listing, photos: int, work: Path) -> CardScores:
    """Score a network and what explains it; photos: how many the methods are scored on; work: a folder for the scores, from which
    a run that was stopped goes on."""
    sample = listing.sample(photos, seed=0)
    truth = truth_beside(listing, classifier)
    on_the_card = runs(classifier, methods, sample, truth)
    choice = score_run(classifier, default_methods.candidates(classifier), default_methods.METRIC, sample, controls=())
    with Store.open(work / f"{classifier.name}.{version_of(classifier.name)}.db") as store:
        for run in (*on_the_card, choice):
            for _ in HeldOutScores(run, store).rows():
                pass
        [group] = summarise(store, Selection(definitions=definitions(on_the_card)))
        columns = columns_of(store, choice)
    first, five = accuracy(classifier, listing)
    return CardScores(first, five, group, columns, sample.fingerprint())


def runs(classifier: Classifier, methods: Sequence[str], photos: Listing, truth: Truth | None) -> list[ScoreRun]:
    """Runs over what was trained for a network beside what needs no training; of costly methods on a part of the photos."""
    rivals = [rival for rival in map(make_method, RIVALS) if not unfit(rival, classifier)]
    metrics = METRICS if truth is None else (*METRICS, WITH_TRUTH)
    every = [*map(make_method, methods), *rivals]
    costly = [method for method in every if method.cost(classifier).forward > COSTLY]
    some = photos.rows(range(max(1, len(photos) // PART)))
    parts = (([method for method in every if method not in costly], photos), (costly, some))
    return [score_run(classifier, chosen, ",".join(metrics), sample, truth) for chosen, sample in parts if chosen]


def score_run(
    classifier: Classifier,
    methods: Sequence[Method],
    metrics: str,
    photos: Listing,
    truth: Truth | None = None,
    *,
    controls: Sequence[str] = CONTROL_NAMES,
) -> ScoreRun:
    chosen = make_metrics([metrics])
    told = expecting(classifier, chosen, len(photos), len(methods))
    run = ScoreRun(photos.sources, told, methods, chosen, truth=truth, controls=controls)
    run.check()
    return run


def columns_of(store: Store, run: ScoreRun) -> list[Column]:
    """The values of a run's methods by photo, which is called by its folder and its name."""
    found: dict[tuple[str, str], Column] = {}
    for row in store.rows(Selection(definitions=definitions([run]))):
        if row.value is not None:
            column = found.setdefault((row.method, row.metric), Column(row.method, row.metric))
            column.values["/".join(Path(row.image).parts[-2:])] = row.value
    return list(found.values())


def definitions(runs: Sequence[ScoreRun]) -> frozenset[str]:
    return frozenset(recipe.definition for run in runs for recipe in run.recipes)


def version_of(name: str) -> str:
    """Changes with a network and its explainers, so that scores of earlier ones are not taken for theirs."""
    return stamp([hash_as_trained(file) for file in sorted(BUNDLED.glob(f"{name}.*"))])


def accuracy(classifier: Classifier, listing: Listing) -> tuple[Estimate, Estimate]:
    """The shares of all held-out photos that are decided rightly, first and among the first five; in float32, as it ships."""
    assert listing.labels is not None
    _, photos = open_photos(listing, classifier.view)
    ranks: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for batch in held_out(photos, listing.labels, len(listing), classifier.view, BATCH, classifier.device):
            assert batch.labels is not None
            logits = classifier(batch.inputs)
            own = logits.gather(1, batch.labels[:, None])
            ranks.append((logits > own).sum(dim=1).cpu().numpy())
    rank = np.concatenate(ranks)
    return stats.mean((rank == 0).astype(float), HITS), stats.mean((rank < 5).astype(float), HITS)


def truth_beside(listing: Listing, classifier: Classifier) -> Truth | None:
    """The boxes of held-out photos, of a boxes.csv with columns path, x0, y0, x1, y1 (both ends included) above their folders."""
    file = listing.sources[0].file
    place = None if file is None else next((parent / BOXES for parent in file.parents[:3] if (parent / BOXES).is_file()), None)
    if place is None:
        return None
    with open(place, newline="", encoding="utf-8") as table:
        rows = [[row["path"], row["x0"], row["y0"], int(row["x1"]) + 1, int(row["y1"]) + 1] for row in csv.DictReader(table)]
    with TemporaryDirectory() as folder:
        made = Path(folder) / BOXES
        with open(made, "w", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows([["file", "x0", "y0", "x1", "y1"], *rows])
        return read_truth(made, classifier.classes, classifier.count)


def shown(estimate: Estimate) -> str:
    """A share in percent with its interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "unknown"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
