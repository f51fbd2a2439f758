"""One run of a suite: maps, scores, confidence and decisions, photo by photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.errors import InputError, RunError, XaiError
from xaicli.gate.suite import RETRAINED, Suite
from xaicli.images.find import find
from xaicli.images.source import Source
from xaicli.images.truth import Truth, read_truth
from xaicli.method import Maps, Method
from xaicli.metric import Metric
from xaicli.models.classifier import Classifier
from xaicli.models.load import load_classifier
from xaicli.registry import make_method, make_methods, make_metrics, refuse_unmet
from xaicli.runs.explain import maps_of_each
from xaicli.runs.photos import Failure, Loaded, load_ahead
from xaicli.runs.records import resolved_layer
from xaicli.runs.scene import Circumstances, Explanation, Scene
from xaicli.runs.score import CONTROLS, joined
from xaicli.runs.scoring import refuse_unfit, score_maps
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice, choose_targets
from xaicli.stamps import definition_stamp
from xaicli.targets import TargetRule

BATCH = 8
PRECISION = "fp32"


@dataclass(frozen=True, eq=False)
class Score:
    """One number, or why there is none, and the clean photo's probability where the metric tells it."""

    value: float | None
    status: str


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """What a run found of one photo. target: what was explained, canonical; decision: the class the model chose; probability: of
    the target on the clean photo; maps: by method label, (h, w); scores: by method and metric label."""

    image: str
    content: str
    frame: int
    target: str
    decision: int
    probability: float
    maps: Mapping[str, NDArray[np.float32]]
    scores: Mapping[tuple[str, str], Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """A suite made ready: the model, photos, methods and metrics that it names."""

    suite: Suite
    classifier: Classifier
    sources: tuple[Source, ...]
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    targets: TargetChoice
    truth: Truth | None = None

    @property
    def controls(self) -> tuple[Method, ...]:
        """Controls stand beside the methods only where a new model is expected: there insertion is held against them."""
        if self.suite.expect != RETRAINED:
            return ()
        named = {method.name for method in self.methods}
        return tuple(make_method(name) for name in CONTROLS if name not in named)

    def definitions(self) -> dict[str, str]:
        """The stamp of each method, and of each metric, by label."""
        named = [*self.methods, *self.controls, *self.metrics]
        return {one.label: definition_stamp(one, self.targets.text, PRECISION) for one in named}

    def layers(self) -> dict[str, str]:
        """The resolved feature layer of each method that has one."""
        return {method.label: layer for method in self.methods if (layer := resolved_layer(method, self.classifier))}


def make_ready(suite: Suite, *, trust: bool, model: str | None = None, weights: str | None = None) -> Bench:
    """Load what a suite names; `model` and `weights` replace its own. Raises XaiError where anything cannot be used."""
    methods, metrics = make_methods(suite.methods), make_metrics(suite.metrics)
    options = {key: suite.place(value) if key in ("weights", "classes") else value for key, value in suite.options.items()}
    if weights is not None:
        options["weights"] = weights
    spec = model or model_in(suite)
    classifier = load_classifier(spec, precision=PRECISION, trust=trust or model is not None, **options)
    sources = find([suite.place(image) for image in suite.images], recursive=suite.recursive, limit=suite.limit)
    for method in methods:
        refuse_unmet(method, classifier.provides, classifier.name)
        refuse_unfit(
            metrics,
            label=method.label,
            sign=method.sign,
            explains=True,
            provides=classifier.provides,
            model=classifier.name,
            truth=bool(suite.truth),
        )
    truth = None
    if suite.truth:
        mapping = suite.place(suite.truth_classes) if suite.truth_classes else None
        truth = read_truth(suite.place(suite.truth), classifier.classes, classifier.count, mapping)
    targets = choose_targets(suite.target, classifier, sources)
    if targets.count > 1:
        raise InputError(f"a suite with target {suite.target}", expected="one target a photo")
    return Bench(suite, classifier, tuple(sources), tuple(methods), tuple(metrics), targets, truth)


def model_in(suite: Suite) -> str:
    """The suite's model; a file is looked for from the suite's folder."""
    name = suite.model
    for prefix in ("", "onnx:", "hf:"):
        rest = name.removeprefix(prefix)
        if prefix and rest == name:
            continue
        file = rest.rpartition(":")[0] if ".py:" in rest else rest
        if (suite.folder / file).exists():
            return prefix + str(suite.folder / rest)
    return name


def with_classes(bench: Bench, targets: Mapping[str, str]) -> Bench:
    """The bench that explains given classes: canonical targets by image path."""
    rules = {}
    for image, text in targets.items():
        index, dash, against = text.partition("-")
        rules[image] = TargetRule(index=int(index), against=int(against)) if dash else TargetRule(index=int(index))
    return replace(bench, targets=TargetChoice(bench.targets.text, bench.targets.rule, rules, "the baseline"))


def run_suite(bench: Bench, seed: int, *, score: bool = True) -> Iterator[PhotoResult]:
    """Explain and score every photo; raises XaiError at the first that cannot be used: a gate never passes on part of its photos."""
    batch: list[Loaded] = []
    for item in load_ahead(bench.sources, bench.classifier.view):
        if isinstance(item, Failure):
            raise item.error
        batch.append(item)
        if len(batch) == BATCH:
            yield from run_batch(bench, batch, seed, score=score)
            batch = []
    if batch:
        yield from run_batch(bench, batch, seed, score=score)


def run_batch(bench: Bench, batch: list[Loaded], seed: int, *, score: bool) -> Iterator[PhotoResult]:
    settings = Settings(seed=seed, precision=PRECISION)
    explanations = []
    for method in (*bench.methods, *(bench.controls if score else ())):
        made = whole(maps_of_each(batch, bench.classifier, method, bench.targets, settings))
        explanations.append(Explanation.of(method, joined(made), bench.classifier, control=method in bench.controls))
    scores = scores_of(bench, batch, explanations, seed) if score and bench.metrics else {}
    maps = explanations[0].maps
    decisions = maps.logits.argsort(dim=1, descending=True, stable=True)[:, 0].tolist()
    chances = maps.targets.probability(maps.logits)[:, 0].tolist()
    for row, loaded in enumerate(batch):
        yield PhotoResult(
            image=loaded.source.path,
            content=loaded.photo.content,
            frame=loaded.photo.frame,
            target=maps.targets.names(row)[0],
            decision=decisions[row],
            probability=chances[row],
            maps={one.label: one.maps.values[row, 0].detach().cpu().numpy() for one in explanations if not one.control},
            scores=scores.get(loaded.photo.content, {}),
        )


def whole(made: Sequence[Maps | XaiError]) -> list[Maps]:
    maps = []
    for one in made:
        if isinstance(one, XaiError):
            raise one
        maps.append(one)
    return maps


def scores_of(
    bench: Bench, batch: list[Loaded], explanations: Sequence[Explanation], seed: int
) -> dict[str, dict[tuple[str, str], Score]]:
    """Scores by photo content, then by method and metric."""
    classifier = bench.classifier
    scene = Scene(
        images=tuple(item.source.path for item in batch),
        contents=tuple(item.photo.content for item in batch),
        frames=tuple(item.photo.frame for item in batch),
        inputs=torch.stack([item.input for item in batch]).to(classifier.device),
        truth=[bench.truth.of(item.source.path, item.photo.image.size, classifier.view) for item in batch] if bench.truth else None,
    )
    run = Circumstances(seed=seed, target_rule=bench.targets.text, precision=PRECISION)
    scored = score_maps(classifier, scene, explanations, bench.metrics, run)
    found: dict[str, dict[tuple[str, str], Score]] = {}
    for row in scored.rows:
        found.setdefault(row.photo, {})[row.method, row.metric] = Score(row.value, row.status)
    if any(content not in found for content in scene.contents):
        raise RunError("a photo has no scores at all", expected="a row for each photo, method and metric")
    return found
