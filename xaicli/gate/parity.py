"""Two networks on the same photos: the same methods with the same random numbers, and by how much each map may move."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from xaicli.errors import InputError, UsageError
from xaicli.gate.baseline import Baseline, Tick, baseline_with, other_seed
from xaicli.gate.map_similarity import FLOOR, Similarity, similarity
from xaicli.gate.measure import PRECISION, ReadySuite, run_suite, scores_of, whole, with_classes
from xaicli.gate.outcome import Outcome
from xaicli.gate.photo_result import PhotoResult
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import photo_seed, stream
from xaicli.runs.photos import LoadedPhoto, load_ahead
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.targets import TargetRule
from xaicli.words import count

GRAIN = 1.0
"""How far each value of a photo is moved, at most, in units of 1/255: less than any eye sees."""
MARGIN = Similarity(spearman=0.05, overlap=0.20)
"""How far the similarity of a map may lie below that of two maps of one network."""

MOST_SHOWN = 12
"""Maximum photos on the page."""

State = Literal["agrees", "decision moved", "looks elsewhere"]
STATES: tuple[State, ...] = ("decision moved", "looks elsewhere", "agrees")
"""The worst first."""


@dataclass(frozen=True)
class Agreement:
    """How similar the maps of two networks are, and what two maps of the original alone reach."""

    found: Similarity
    noise: Similarity

    @property
    def floor(self) -> Similarity:
        spearman, overlap = min(self.noise.spearman, FLOOR.spearman), min(self.noise.overlap, FLOOR.overlap)
        return Similarity(spearman - MARGIN.spearman, overlap - MARGIN.overlap)

    @property
    def holds(self) -> bool:
        return self.found.reaches(self.floor)

    @property
    def above(self) -> float:
        """By how much the floor is exceeded; a map that is not finite is below every floor."""
        return self.found.above(self.floor)


@dataclass(frozen=True, eq=False)
class ComparedPhoto:
    """One photo on two networks. decisions: classes; probabilities: of the target; agreements: by method label."""

    image: str
    target: str
    decisions: tuple[int, int]
    probabilities: tuple[float, float]
    agreements: dict[str, Agreement]

    @property
    def worst(self) -> str:
        """The method whose maps agree least."""
        return min(self.agreements, key=lambda label: self.agreements[label].above)

    @property
    def state(self) -> State:
        if self.decisions[0] != self.decisions[1]:
            return "decision moved"
        return "agrees" if all(one.holds for one in self.agreements.values()) else "looks elsewhere"


@dataclass(frozen=True, eq=False)
class ParityOutcome(Outcome):
    """The outcome of a comparison: `baseline` is the original's, `now` are the other network's results. compared: one for each
    photo, in the same order; models: the names of both networks."""

    compared: tuple[ComparedPhoto, ...] = ()
    models: tuple[str, str] = ("", "")

    @property
    def ordered(self) -> list[int]:
        """Positions of the photos, worst first."""
        photos = self.compared
        return sorted(
            range(len(photos)),
            key=lambda at: (STATES.index(photos[at].state), photos[at].agreements[photos[at].worst].above, at),
        )

    @property
    def to_look_at(self) -> list[tuple[int, str]]:
        """The photos that do not agree; if all do, the three that agree least."""
        ordered = self.ordered
        shown = [at for at in ordered if self.compared[at].state != "agrees"][:MOST_SHOWN] or ordered[:3]
        return [(at, self.compared[at].worst) for at in shown]


@dataclass(frozen=True, eq=False)
class Original:
    """The original's results. ready: with the targets that it decided; noise: similarity of two of its maps, by method label,
    photo by photo."""

    ready: ReadySuite
    photos: tuple[PhotoResult, ...]
    noise: dict[str, list[Similarity]]
    baseline: Baseline


@dataclass(frozen=True, eq=False)
class PairRun:
    """Both networks' results: the original's with its scores, and the other's."""

    baseline: Baseline
    now: tuple[PhotoResult, ...]
    noise: dict[str, list[Similarity]]


def photos_to_run(ready: ReadySuite) -> int:
    """How many photos are explained or scored in all."""
    return len(ready.sources) * (3 + bool(ready.metrics))


def run_original(ready: ReadySuite, tick: Tick = lambda done: None) -> Original:
    """Explain the photos, and once more with other random numbers and grain: so far a map moves though the network is the same.

    Raises InputError if there are no photos.
    """
    photos = run_suite(ready, ready.suite.seed, score=False, tick=tick)
    if not photos:
        raise InputError("there are no photos to compare", hint="An empty set of photos never passes.")
    fixed = with_classes(ready, {source.path: photo.target for source, photo in zip(ready.sources, photos, strict=True)})
    again = run_suite(
        fixed,
        other_seed(ready.suite.seed, 1),
        score=False,
        tick=lambda done: tick(len(photos) + done),
        altered=lambda loaded: with_grain(loaded, ready),
    )
    size = ready.classifier.view.size
    noise = {
        method.label: [similarity(a.maps[method.label], b.maps[method.label], size) for a, b in zip(photos, again, strict=True)]
        for method in ready.methods
    }
    return Original(fixed, photos, noise, baseline_with(ready, photos, {}))


def run_pair(original: Original, other: ReadySuite, tick: Tick = lambda done: None) -> PairRun:
    """Explain the original's targets on another network with the same random numbers; maps of both are scored on the original.

    Raises InputError if the networks have different classes.
    """
    ready, photos = original.ready, original.photos
    refuse_different(ready.classifier, other.classifier)
    seed, count = ready.suite.seed, len(photos)
    targets = {source.path: photo.target for source, photo in zip(ready.sources, photos, strict=True)}
    now = run_suite(with_classes(other, targets), seed, score=False, tick=lambda done: tick(2 * count + done))
    if ready.metrics:
        photos, now = scored_on_original(ready, (photos, now), seed, lambda done: tick(3 * count + done))
    return PairRun(dataclasses.replace(original.baseline, photos=photos), now, original.noise)


def refuse_different(one: Classifier, two: Classifier) -> None:
    """Raise InputError unless both networks have the same kind and number of outputs; UsageError for detectors."""
    if one.decoding is not None or two.decoding is not None:
        raise UsageError("boxes of two detectors are not the same targets", expected="two classifiers")
    if (one.count, one.outputs) != (two.count, two.outputs):
        raise InputError(
            f"{one.name} has {count(one.count, 'output')} ({one.outputs.value}), "
            f"{two.name} has {two.count} ({two.outputs.value})",
            expected="two networks of the same classes",
        )


def with_grain(loaded: LoadedPhoto, ready: ReadySuite) -> LoadedPhoto:
    """The photo with each value moved by at most GRAIN / 255."""
    view = ready.classifier.view
    drawn = stream(photo_seed(ready.suite.seed, loaded.photo.content, loaded.photo.frame, "grain"), "grain")
    moved = torch.from_numpy(drawn.uniform(-GRAIN / 255, GRAIN / 255, tuple(loaded.input.shape))).to(loaded.input)
    return replace(loaded, input=loaded.input + moved * view.scale / torch.tensor(view.std).to(moved)[:, None, None])


def scored_on_original(
    ready: ReadySuite, runs: tuple[tuple[PhotoResult, ...], ...], seed: int, tick: Tick
) -> tuple[tuple[PhotoResult, ...], ...]:
    """Score the maps of several runs on one network."""
    explainers = [Explainer.of(method, ready.classifier, ready.targets.text, PRECISION) for method in ready.methods]
    scored: list[tuple[PhotoResult, ...]] = []
    loading = load_ahead(ready.sources, ready.classifier.view, picture=False)
    for done, (item, *photos) in enumerate(zip(loading, *runs, strict=True), 1):
        [loaded] = whole([item])
        made = [
            replace(photo, scores=scores_of(ready, loaded, explanations_of(photo, explainers, loaded), seed)) for photo in photos
        ]
        scored.append(tuple(made))
        tick(done)
    return tuple(zip(*scored, strict=True))


def explanations_of(photo: PhotoResult, explainers: Sequence[Explainer], loaded: LoadedPhoto) -> list[Explanation]:
    rule = TargetRule.of_name(photo.target)
    return [
        Explanation(one, torch.from_numpy(photo.maps[one.label])[None].to(loaded.input.device), (rule,)) for one in explainers
    ]


def compare_photos(pair: PairRun, size: tuple[int, int]) -> tuple[ComparedPhoto, ...]:
    """Each photo's decisions, probabilities, and the agreement of its maps at the original's input size."""
    return tuple(
        ComparedPhoto(
            image=new.image,
            target=new.target,
            decisions=(old.decision, new.decision),
            probabilities=(old.probability, new.probability),
            agreements={
                label: Agreement(similarity(old.maps[label], new.maps[label], size), noise[at])
                for label, noise in pair.noise.items()
            },
        )
        for at, (old, new) in enumerate(zip(pair.baseline.photos, pair.now, strict=True))
    )
