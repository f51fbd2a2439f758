"""Scoring many photos with many methods and metrics into a store: what `xai score`, `xai compare` and the gate share."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import XaiError
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.packages import versions
from xaicli.registry import CONTROLS, make_method
from xaicli.results.store import Store
from xaicli.rows import OTHER, KeptMap, Recipe, Row, Run
from xaicli.runs.binding import bind
from xaicli.runs.controls import CONTROL_NAMES, Ring, name_of, other, swapped
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.map_cache import Lending, MapCache, Watch
from xaicli.runs.method_differences import require_same
from xaicli.runs.photos import Failure, LoadedPhoto
from xaicli.runs.records import resolved_layer
from xaicli.runs.region_target import canonical
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import refuse_unfit, score_photo
from xaicli.sign import Sign
from xaicli.suitability import require_fit, require_scores

ASKED_AT_ONCE = 50_000
"""Photos for which a store is asked at a time, since each question takes memory."""


class Holding(Protocol):
    """What can say which rows it does not hold: a store, or a folder of Parquet files."""

    def missing(
        self,
        photos: Sequence[tuple[str, int]],
        recipes: Sequence[Recipe],
        *,
        model: str,
        seed: int,
        targets: Sequence[str | None] | None = None,
        partners: Sequence[str | None] | None = None,
    ) -> NDArray[np.bool_]: ...


class Gaps(Protocol):
    """Which rows (recipes,) of a photo are missing; partner: content of the photo whose map is the control, if it is not the next
    photo's."""

    def __call__(self, source: Source, partner: str | None = None) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, eq=False)
class NewScores:
    """The new rows of one photo and its small maps; alone: no photo could lend a map for the control `other`."""

    source: Source
    rows: list[Row]
    maps: list[KeptMap]
    alone: bool = False


@dataclass(frozen=True)
class ScoreRun:
    """A scoring run: which photos, maps and metrics, and how.

    sources: the photos of this run; all_sources: the photos of the whole job, of which this run may be a shard, and from which
    the control `other` takes its maps; controls: names of CONTROL_NAMES; given_maps: maps from files, instead of methods;
    hashes, stretch: the content hashes and the part of the ring that a worker of a cluster was given, instead of all photos.
    """

    sources: Sequence[Source]
    classifier: Classifier
    methods: Sequence[Method]
    metrics: Sequence[Metric]
    targets: TargetChoice = field(default_factory=TargetChoice)
    settings: Settings = field(default_factory=Settings)
    controls: Sequence[str] = CONTROL_NAMES
    truth: Truth | None = None
    keep_going: bool = False
    all_sources: Sequence[Source] = ()
    given_maps: Sequence[GivenMaps] = ()
    hashes: Mapping[Source, str] | None = None
    stretch: Ring | None = None

    def check(self) -> None:
        """Raise UsageError before any work if a method cannot run, or if a metric cannot score its maps."""
        for method in self.methods:
            require_fit(method, self.classifier)
        for metric in self.metrics:
            require_scores(metric, self.classifier)
        for explainer in self.explainers:
            if not explainer.control:
                refuse_unfit(self.metrics, explainer, self.classifier, truth=self.truth is not None)

    @cached_property
    def all_methods(self) -> list[Method]:
        """The methods, and the controls that are methods too."""
        named = {method.name for method in self.methods}
        return [*self.methods, *(make_method(name) for name in CONTROLS if name in self.controls and name not in named)]

    @cached_property
    def contents(self) -> Mapping[Source, str]:
        """Content hashes of all photos of the job that can be read."""
        if self.hashes is not None:
            return self.hashes
        named = ((source, content_hash(source)) for source in dict.fromkeys([*self.all_sources, *self.sources]))
        return {source: content for source, content in named if content is not None}

    @cached_property
    def ring(self) -> Ring:
        """The photos whose maps the control `other` uses; empty without that control, or with one photo."""
        if self.stretch is not None:
            return self.stretch
        return Ring(self.contents if OTHER in self.controls and len(set(self.contents.values())) > 1 else {})

    @cached_property
    def own(self) -> list[Explainer]:
        """What explains a photo itself: methods, files, and the controls that are methods."""
        rule, precision = self.targets.text, self.settings.precision
        methods = [
            Explainer.of(method, self.classifier, rule, precision, control=method not in self.methods)
            for method in self.all_methods
        ]
        return methods + [maps.explainer(rule, precision, self.classifier.outputs.value) for maps in self.given_maps]

    @cached_property
    def others(self) -> dict[str, Explainer]:
        """The controls `other` by the label of the method that they belong to."""
        return {one.label: other(one) for one in self.own if self.ring.lends and not one.control}

    @property
    def explainers(self) -> list[Explainer]:
        """Everything that is scored; known before any map is made."""
        return [*self.own, *self.others.values()]

    @property
    def labels(self) -> list[str]:
        """The labels of what is scored, without controls."""
        return [method.label for method in self.methods] + [maps.label for maps in self.given_maps]

    @cached_property
    def recipes(self) -> list[Recipe]:
        """The recipe of every column of scores."""
        return [one.recipe(metric) for one in self.explainers for metric in self.metrics if one.suits(metric)]

    @cached_property
    def record(self) -> Run:
        return Run(
            model=self.classifier.name,
            fingerprint=self.classifier.fingerprint,
            device=self.classifier.device.type,
            batch_size=self.settings.batch_size or 0,
            layers={method.label: layer for method in self.methods if (layer := resolved_layer(method, self.classifier))},
            versions=versions(),
            command=self.settings.command,
        )

    def missing(self, store: Holding, sources: Sequence[Source], partner: str | None = None) -> NDArray[np.bool_]:
        """Which rows are missing in the store: (sources, recipes). A photo that cannot be read counts as missing.

        partner: content of the photo whose map is the control, if it is not the next photo's.
        """
        parts = [sources[start : start + ASKED_AT_ONCE] for start in range(0, len(sources), ASKED_AT_ONCE)] or [[]]
        found = [
            store.missing(
                [(self.contents.get(source, ""), source.frame) for source in part],
                self.recipes,
                model=self.classifier.fingerprint,
                seed=self.settings.seed,
                targets=self.known_targets(part),
                partners=[partner or self.ring.partner(source) for source in part],
            )
            for part in parts
        ]
        return np.concatenate(found)

    def known_targets(self, sources: Sequence[Source]) -> list[str | None]:
        rules = [self.targets.rule_of(source) for source in sources]
        return [canonical(rule) if rule.known else None for rule in rules]

    def run(self, store: Store) -> Generator[list[Row] | Failure, None, None]:
        """Score what is missing in the store and write it, one transaction per photo; yields the new rows of each photo, or a
        Failure.

        One photo at a time is enough: the copies of its methods, metrics and steps fill the queue's batches, and a run that is
        killed loses only the current photo. A Failure is the last item unless the run keeps going. Raises InputError if the store
        cannot be written to.
        """
        todo = self.incomplete(store, self.sources)

        def gaps(source: Source, partner: str | None = None) -> NDArray[np.bool_]:
            # Another process may have scored a photo by now, or it has the same content as a photo that was just scored.
            return self.missing(store, [source], partner)[0]

        for result in self.measure(todo, gaps):
            if isinstance(result, NewScores):
                self.keep(result, store)
                yield result.rows
            else:
                yield result
                if not self.keep_going:
                    return

    def todo(self, store: Holding) -> list[Source]:
        """The photos with at least one missing row; for blocks of a cluster, neighbours on the ring together."""
        todo = self.incomplete(store, self.sources)
        if self.ring.lends:
            todo.sort(key=lambda source: self.contents.get(source, ""))
        return todo

    def measure(
        self, todo: Sequence[Source], gaps: Gaps, watch: Watch = lambda source: None
    ) -> Generator[NewScores | Failure, None, None]:
        """Explain and score photos in order, and write nothing: in this process, in a shard, or in a worker of a cluster.

        gaps: which rows of a photo are missing, asked right before it is scored; photos without gaps are passed over. watch:
        told of each photo that is about to be worked on, its own or a partner; it may raise XaiError.
        """
        makers: list[Method | GivenMaps] = [*self.all_methods, *self.given_maps]
        cache = MapCache(self.classifier, makers, self.targets, self.settings, self.ring, watch, lent=self.others.keys())
        coming, lending = set(todo), Lending(cache, todo)

        def waiting(source: Source) -> bool:
            return source in coming or source in lending.borrowers

        for place, source in enumerate(todo):
            missing = gaps(source)
            if missing.any():
                yield self.score_photo(source, missing, cache, gaps)
            done = {source, lending.lender.get(source, source)}
            coming.discard(source)
            lending.end(source)
            soon = {
                one for following in todo[place + 1 : place + 2] for one in (following, lending.lender.get(following, following))
            }
            cache.put_away(waiting, done, soon)

    def keep(self, scores: NewScores, store: Store, device: str = "") -> None:
        """Write the scores of one photo, in one transaction; device: where they were made, by default this run's."""
        engines = dict(name.split(" ", 1) for name in sorted(self.classifier.engines_used))
        record = replace(self.record, device=device or self.record.device, versions={**self.record.versions, **engines})
        store.add(scores.rows, self.recipes, maps=scores.maps, run=record)

    def incomplete(self, store: Holding, sources: Sequence[Source]) -> list[Source]:
        """The photos with at least one missing row."""
        gaps = self.missing(store, sources)
        return [source for source, gap in zip(sources, gaps, strict=True) if gap.any()]

    def score_photo(self, source: Source, missing: NDArray[np.bool_], cache: MapCache, gaps: Gaps) -> NewScores | Failure:
        """Explain and score a photo; missing: (recipes,), which of its rows to make."""
        wanted = {recipe.definition: recipe.method for recipe, gap in zip(self.recipes, missing, strict=True) if gap}
        bases = {base for base, control in self.others.items() if control.label in wanted.values()}
        own = set(wanted.values()) - {control.label for control in self.others.values()}
        try:
            if own:
                # Before any map of another photo: this one may be of no use.
                cache.fetch(source, own | bases)
            partner, bases = self.lender(source, bases, cache, gaps)
            alone = bool(bases) and partner is None
            labels = own if partner is None else own | bases
            if not labels:
                return NewScores(source, [], [], alone)
            maps = cache.fetch(source, labels)
            explanations = [Explanation.of(one, maps[one.label]) for one in self.own if one.label in labels]
            if partner is not None:
                explanations += self.swapped(partner, explanations, bases, cache)
            cache.watch(source)
            loaded = cache.load(source)
            photo = self.scored(loaded)
            rows = score_photo(photo, explanations, self.metrics, wanted=wanted)
            self.require_same_methods(labels)
        except XaiError as error:
            return Failure(source, error)
        return NewScores(source, rows, self.kept_maps(photo, loaded, explanations), alone)

    def require_same_methods(self, labels: Collection[str]) -> None:
        """Raise RunError if a method meanwhile makes other maps than its recipes say, as after another training."""
        begun = {one.label: one.content for one in self.own}
        for method in self.all_methods:
            if method.label in labels:
                require_same(method, self.classifier, begun[method.label], "when the run began")

    def lender(self, source: Source, bases: set[str], cache: MapCache, gaps: Gaps) -> tuple[Source | None, set[str]]:
        """The next photo by content whose maps can be made, which are then in the cache, and the methods whose control `other`
        has no row with it. Order and shard do not matter.

        A photo that cannot be used is skipped. The store may hold rows with the one after it, for which no map is made again.
        """
        for candidate in self.ring.after(source) if bases else ():
            if candidate in cache.faults:
                continue
            content = self.contents[candidate]
            if content != self.ring.partner(source):
                lacking = {recipe.method for recipe, gap in zip(self.recipes, gaps(source, content), strict=True) if gap}
                bases = {base for base in bases if self.others[base].label in lacking}
            if not bases or cache.lends(candidate, bases):
                return candidate if bases else None, bases
        return None, bases

    def swapped(self, partner: Source, own: Sequence[Explanation], bases: Collection[str], cache: MapCache) -> list[Explanation]:
        """The controls `other` of a photo with the maps of its partner."""
        lent, name = cache.maps[partner], name_of(self.contents[partner], partner.frame)
        return [swapped(one, lent[one.explainer.label].values[0].detach(), name) for one in own if one.explainer.label in bases]

    def scored(self, loaded: LoadedPhoto) -> ScoredPhoto:
        path, photo, view = loaded.source.path, loaded.photo, self.classifier.view
        truth = self.truth.of(path, photo.size, view) if self.truth else None
        inputs = loaded.input.to(self.classifier.device)
        classifier = bind(self.classifier, loaded, self.targets.rule_of(loaded.source)).classifier
        return ScoredPhoto(classifier, path, photo.content, photo.frame, inputs, self.settings.seed, truth)

    def kept_maps(self, photo: ScoredPhoto, loaded: LoadedPhoto, explanations: Sequence[Explanation]) -> list[KeptMap]:
        """A photo's maps in the form in which a report draws them; those of controls are not kept."""
        width, height = loaded.photo.size
        left, top, right, bottom = self.classifier.view.geometry(width, height).extent
        return [
            KeptMap(
                subject=photo.subject(str(target)),
                method_definition=explanation.explainer.recipe(self.metrics[0]).method_definition,
                method=explanation.explainer.label,
                seed=self.settings.seed,
                values=values.cpu().numpy(),
                box=(left / width, top / height, right / width, bottom / height),
                signed=explanation.explainer.sign is Sign.SIGNED,
                region=None if (region := photo.classifier.region_of(target.index)) is None else region.cpu().numpy(),
            )
            for explanation in explanations
            if not explanation.explainer.control
            for target, values in zip(explanation.targets, explanation.values, strict=True)
        ]
