"""One run of a suite: maps, scores, confidence and decisions, photo by photo."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from xaicli.errors import InputError, RunError, UsageError, XaiError
from xaicli.gate.photo_result import PhotoResult, Score
from xaicli.gate.rules import CONTROLS, Rule, check_outputs, settle
from xaicli.gate.suite import Suite
from xaicli.gate.toml_file import naming
from xaicli.images.find import find
from xaicli.images.marks import REGION
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth, read_truth
from xaicli.method import Maps, Method
from xaicli.metric import Metric
from xaicli.models.cut_network import JOINED
from xaicli.models.load import load_classifier, untrusted
from xaicli.needs import of_sequences
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.params import as_json
from xaicli.passes.engine import TORCH
from xaicli.registry import CONTROLS as CONTROL_METHODS
from xaicli.registry import is_own_file, make_method, make_methods, make_metrics
from xaicli.runs.binding import bind
from xaicli.runs.controls import name_of, swapped, with_partners
from xaicli.runs.photo_maps import maps_of_each
from xaicli.runs.photos import Failure, LoadedPhoto, load_ahead
from xaicli.runs.records import place_of_layer, recorded_path, resolved_layer
from xaicli.runs.settings import Settings
from xaicli.runs.similar_target import compared
from xaicli.runs.target_choice import TargetChoice, choose_targets
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import refuse_unfit, score_photo
from xaicli.suitability import require_fit
from xaicli.targets import TargetRule
from xaicli.untrusted import is_there

BATCH = 8
PRECISION = "fp32"
T = TypeVar("T")


@dataclass(frozen=True)
class ReadySuite:
    """A suite made ready: its model, photos (each content once), methods, metrics and rules."""

    suite: Suite
    classifier: Classifier
    sources: tuple[Source, ...]
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    targets: TargetChoice
    rules: tuple[Rule, ...]
    truth: Truth | None = None

    @property
    def controlled(self) -> bool:
        """Whether a rule compares insertion with the controls."""
        return any(rule.metric == CONTROLS for rule in self.rules)

    @cached_property
    def controls(self) -> tuple[Method, ...]:
        """The controls that insertion is compared with, if a rule asks for them; `other` needs no method, since it uses the maps
        of other photos."""
        if not self.controlled:
            return ()
        named = {method.label for method in self.methods}
        return tuple(make_method(name) for name in CONTROL_METHODS if name not in named)

    def definitions(self) -> dict[str, dict[str, Any]]:
        """How each map and score is made, by label: name, version and parameters of the method or metric."""
        return {one.label: as_json(one) for one in (*self.methods, *self.controls, *self.metrics)}

    def class_names(self, photos: Sequence[PhotoResult]) -> dict[str, str]:
        """The names of the classes that photos were decided on or explained for, by index; of a detector's boxes none."""
        if self.classifier.outputs is Outputs.BOXES:
            return {}
        rules = [TargetRule.of_name(photo.target) for photo in photos]
        found = {index for rule in rules if not rule.photo for index in (rule.index, rule.against)}
        found |= {photo.decision for photo in photos}
        names = self.classifier.classes
        return {str(index): names[index] for index in sorted(found) if 0 <= index < len(names)}

    def layers(self) -> dict[str, str]:
        """The resolved feature layer of each method that has one."""
        return {method.label: layer for method in self.methods if (layer := resolved_layer(method, self.classifier))}

    def places(self) -> dict[str, str]:
        """Where these layers are in the network."""
        return {method.label: place for method in self.methods if (place := place_of_layer(method, self.classifier))}


def make_ready(suite: Suite, *, trust: bool, model: str | None = None, weights: str | None = None) -> ReadySuite:
    """Load what a suite names; `model` and `weights` replace the suite's own. Raises XaiError if anything cannot be used."""
    refuse_untrusted(suite, trust=trust)
    with naming(str(suite.path)):
        methods, metrics = make_methods(map(suite.placed, suite.methods)), make_metrics(map(suite.placed, suite.metrics))
    named = [replace(rule, metric=suite.placed(rule.metric), method=suite.placed(rule.method)) for rule in suite.rules]
    rules = settle(named, suite.expect, [method.label for method in methods], metrics)
    options: dict[str, Any] = dict(suite.options)
    options |= {key: suite.from_here(options[key]) for key in ("weights", "classes") if key in options}
    if weights is not None:
        options["weights"] = weights
    spec = model or model_in(suite)
    with untrusted(not trust and model is None):
        loaded = load_classifier(spec, precision=PRECISION, engine=TORCH, **options)
    classifier, aim = compared(loaded, suite.target, folder=suite.folder)
    check_outputs(rules, classifier.outputs)
    sources = find([suite.from_here(image) for image in suite.images], recursive=suite.recursive, limit=suite.limit)
    if classifier.view.frames:
        raise of_sequences("The gate", classifier.name)
    for method in methods:
        with untrusted(not trust):
            require_fit(method, classifier)
        explainer = Explainer.of(method, classifier, suite.target, PRECISION)
        refuse_unfit(metrics, explainer, classifier, truth=bool(suite.truth))
    truth = None
    if suite.truth:
        mapping = suite.from_here(suite.truth_classes) if suite.truth_classes else None
        truth = read_truth(suite.from_here(suite.truth), classifier.classes, classifier.count, mapping)
        truth.count(source.path for source in sources)
    target = suite.from_here(aim) if isinstance(aim, str) and aim.startswith("@") else aim
    with naming(str(suite.path)):
        targets = choose_targets(target, classifier, sources)
    if targets.count != 1:
        raise UsageError(f"a suite with target {suite.target}", expected="one target per photo")
    return ReadySuite(suite, classifier, each_once(sources), tuple(methods), tuple(metrics), targets, rules, truth)


def refuse_untrusted(suite: Suite, *, trust: bool) -> None:
    """Raise UsageError if an untrusted suite names code of its own."""
    for name in suite.definitions:
        if is_own_file(name) and not trust:
            raise UsageError(f"{suite.path} would run the code in {name}", hint="Where you trust it, add --trust.")


def each_once(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Photos without duplicates: two files of the same content are one photo, which would count twice in every interval."""
    found: dict[object, Source] = {}
    for source in sources:
        found.setdefault((content_hash(source) or source.path, source.frame), source)
    return tuple(found.values())


def model_in(suite: Suite) -> str:
    """The suite's model; the path of a file starts from the suite's folder."""
    name = suite.model
    for prefix in ("", "onnx:", "openvino:", "tflite:", "hf:"):
        rest = name.removeprefix(prefix)
        if prefix and rest == name:
            continue
        file = rest.rpartition(":")[0] if ".py:" in rest else rest.partition("@")[0]
        if is_there(suite.folder / file):
            return prefix + str(suite.folder / rest)
        if JOINED in file and all(is_there(suite.folder / one) for one in file.split(JOINED)):
            return prefix + JOINED.join(str(suite.folder / one) for one in rest.split(JOINED))
    return name


def with_classes(ready: ReadySuite, targets: Mapping[str, str]) -> ReadySuite:
    """The suite with fixed classes to explain, given as canonical targets by image path. Raises InputError if the model lacks
    one."""
    rules, count = {}, ready.classifier.count
    for image, text in targets.items():
        rule = TargetRule.of_name(text)
        largest = max(rule.index, rule.against)
        if largest >= count and not rule.boxes:
            raise InputError(
                f"the baseline explains class {largest} of {image}, and {ready.classifier.name} has {count} classes",
                expected="a model of the same classes",
                hint="Make a baseline of its own: xai baseline --overwrite",
            )
        # A mask file is named by its content there, and by its path in the suite. Another photo is the one that is compared now.
        given = ready.targets.by_image.get(image, ready.targets.rule)
        rules[image] = replace(rule, region=given.region or rule.region, photo=given.photo)
    return replace(ready, targets=TargetChoice(ready.targets.text, ready.targets.rule, rules, "the baseline"))


def run_suite(
    ready: ReadySuite,
    seed: int,
    *,
    score: bool = True,
    tick: Callable[[int], object] = lambda done: None,
    altered: Callable[[LoadedPhoto], LoadedPhoto] = lambda loaded: loaded,
) -> tuple[PhotoResult, ...]:
    """Explain and score every photo, in the suite's order; tick: called with the number of photos done; altered: a change to
    each photo before the network sees it.

    Raises XaiError at the first photo that cannot be used: a gate never passes on part of its photos.
    """
    found: dict[Source, PhotoResult] = {}
    explained = explained_photos(ready, seed, controls=score, altered=altered)
    for own, partner in with_partners(explained, lambda one: one.loaded.photo.content):
        explanations = own.explanations
        if score and ready.controlled and partner is not None:
            pairs, name = (
                zip(own.explanations, partner.explanations, strict=True),
                name_of(partner.loaded.photo.content, partner.loaded.photo.frame),
            )
            others = [swapped(one, lent.values, name) for one, lent in pairs if not one.explainer.control]
            explanations = [*explanations, *others]
        scores = scores_of(ready, own.loaded, explanations, seed) if score and ready.metrics else {}
        found[own.loaded.source] = result_of(ready, own, scores)
        tick(len(found))
    return tuple(found[source] for source in ready.sources)


@dataclass(frozen=True, eq=False)
class ExplainedPhoto:
    """A photo, the maps of the first method with their logits, and the explanation of each method."""

    loaded: LoadedPhoto
    first: Maps
    explanations: list[Explanation]


def explained_photos(
    ready: ReadySuite, seed: int, *, controls: bool, altered: Callable[[LoadedPhoto], LoadedPhoto]
) -> Iterator[ExplainedPhoto]:
    """Explain every photo, in the order of their content hashes."""
    settings = Settings(seed=seed, precision=PRECISION)
    methods = (*ready.methods, *(ready.controls if controls else ()))
    explainers = [
        Explainer.of(method, ready.classifier, ready.targets.text, PRECISION, control=method not in ready.methods)
        for method in methods
    ]
    ordered = sorted(ready.sources, key=lambda source: (content_hash(source) or "", source.frame))
    loading = load_ahead(ordered, ready.classifier.view, picture=False)
    while batch := [altered(loaded) for loaded in whole(list(itertools.islice(loading, BATCH)))]:
        made = [whole(maps_of_each(batch, ready.classifier, method, ready.targets, settings)) for method in methods]
        for loaded, maps in zip(batch, zip(*made, strict=True), strict=True):
            pairs = zip(explainers, maps, strict=True)
            yield ExplainedPhoto(loaded, maps[0], [Explanation.of(explainer, one) for explainer, one in pairs])


def result_of(ready: ReadySuite, own: ExplainedPhoto, scores: Mapping[tuple[str, str], Score]) -> PhotoResult:
    loaded, explanations, maps = own.loaded, own.explanations, own.first
    return PhotoResult(
        image=shown_path(ready.suite, loaded.source),
        content=loaded.photo.content,
        frame=loaded.photo.frame,
        target=maps.targets.names(0)[0],
        decision=int(ready.classifier.outputs.scores(maps.logits)[0].argsort(descending=True, stable=True)[0]),
        probability=float(maps.targets.probability(maps.logits.detach())[0, 0]),
        maps={one.explainer.label: one.values[0].cpu().numpy() for one in explanations if not one.explainer.control},
        scores=scores,
        region=maps.extras[REGION][0, 0].cpu().numpy() if REGION in maps.extras else None,
        box=asdict(boxes[maps.targets.rules(0)[0].index]) if (boxes := maps.targets.boxes) else {},
    )


def shown_path(suite: Suite, source: Source) -> str:
    """A photo's path from the suite's folder, so that a baseline does not reveal where it was made; the bare name of a photo
    outside it."""
    if source.file is not None and Path(source.path).name == source.file.name:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            return source.file.resolve().relative_to(suite.folder.resolve()).as_posix()
    return recorded_path(source)


def whole(made: Sequence[T | Failure | XaiError]) -> list[T]:
    """All results; raises the first error among them."""
    found = []
    for one in made:
        if isinstance(one, Failure):
            raise one.error
        if isinstance(one, XaiError):
            raise one
        found.append(one)
    return found


def scores_of(
    ready: ReadySuite, loaded: LoadedPhoto, explanations: Sequence[Explanation], seed: int
) -> dict[tuple[str, str], Score]:
    """Scores of a photo by method and metric."""
    classifier, truth, path, photo = ready.classifier, ready.truth, loaded.source.path, loaded.photo
    marked = truth.of(path, photo.size, classifier.view) if truth else None
    inputs = loaded.input.to(classifier.device)
    bound = bind(classifier, loaded, ready.targets.rule_of(loaded.source)).classifier
    scored = ScoredPhoto(bound, path, photo.content, photo.frame, inputs, seed, marked)
    rows = score_photo(scored, explanations, ready.metrics)
    if not rows:
        raise RunError(f"{path} has no scores at all", expected="a row for each photo, method and metric")
    return {(row.method, row.metric): Score(row.value, row.status) for row in rows}
