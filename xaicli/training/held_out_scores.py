"""Scores of a trained explainer on held-out photos, compared with Grad-CAM, RISE and the controls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.params import escape
from xaicli.passes.engine import AUTO
from xaicli.registry import make_method, make_metrics
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.results.summary import Group, summarise
from xaicli.rows import Row
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.settings import Settings
from xaicli.suitability import unfit
from xaicli.training.data import Listing
from xaicli.training.run import TrainRun

RIVALS = ("grad-cam", "rise@n_masks=500")
METRICS = ("average-drop@area=50", "increase-in-confidence@area=50", "deletion@steps=14", "insertion@steps=14")
WITH_TRUTH = "energy-pointing-game"


@dataclass(eq=False)
class HeldOutScores:
    """Scores of one explainer and its rivals on a few photos; `rows()` makes them, `groups` then summarises them."""

    run: ScoreRun
    store: Store = field(default_factory=Store.in_memory)

    def rows(self) -> Iterator[list[Row]]:
        """The rows of each photo as it is scored; raises XaiError if one cannot be scored."""
        with closing(score_missing(self.run, self.store)) as results:
            for result in results:
                if isinstance(result, Failure):
                    raise result.error
                yield result

    @property
    def groups(self) -> list[Group]:
        return summarise(self.store, Selection(controls=True))


def score_held_out(run: TrainRun, photos: int, *, truth: Truth | None = None, seed: int = 0) -> HeldOutScores | None:
    """Scores of a run's explainer on `photos` of its held-out photos; None without a method or a photo to score."""
    if run.learner.method is None or run.held is None or photos < 1:
        return None
    classifier, method = trained(run)
    return scores_beside_rivals(classifier, method, run.held.sample(photos, seed), truth=truth, seed=seed)


def trained(run: TrainRun) -> tuple[Classifier, Method]:
    """The classifier and the method, loaded from the checkpoint as a user would load them."""
    assert run.learner.method is not None
    if run.learner.trains_network:
        engine = run.request.model_options.get("engine", AUTO)
        return load_classifier(str(run.output), device=run.task.classifier.device, engine=engine), run.learner.method
    if run.request.output is None:
        # It was installed just now, and the newest of its kind is the one that is found.
        return run.task.classifier, run.learner.method
    return run.task.classifier, make_method(f"{run.learner.label}@checkpoint={escape(str(run.request.output))}")


def scores_beside_rivals(
    classifier: Classifier, method: Method, photos: Listing, *, truth: Truth | None = None, seed: int = 0
) -> HeldOutScores:
    """Scores of a method and of its rivals, as far as the classifier allows these."""
    methods = [method, *(rival for rival in map(make_method, RIVALS) if not unfit(rival, classifier))]
    metrics = make_metrics([*METRICS, WITH_TRUTH] if truth is not None else METRICS)
    made = ScoreRun(photos.sources, classifier, methods, metrics, settings=Settings(seed=seed), truth=truth)
    made.check()
    return HeldOutScores(made)
