"""Scoring many photos with many methods and metrics into a store: what `xai score`, `xai compare` and the gate share."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.errors import XaiError
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.models.classifier import Classifier
from xaicli.registry import make_method, require_fit
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Recipe, Row, Run
from xaicli.runs.columns import subject_of
from xaicli.runs.controls import other
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.photos import Failure, Loaded
from xaicli.runs.records import resolved_layer, versions
from xaicli.runs.scene import Circumstances, Explanation, Scene
from xaicli.runs.scoring import readable, refuse_unfit, score_maps
from xaicli.runs.settings import Settings
from xaicli.runs.shelf import Shelf, empty_maps, joined
from xaicli.runs.target_choice import TargetChoice

BATCH = 1
"""Photos scored together. One is enough: the copies of its methods, metrics and steps fill the queue's batches, and a run that is
killed loses the photo in work alone."""

CONTROLS = ("random", "center")


@dataclass(frozen=True)
class Wanted:
    """Labels of the maps that are needed: of the photos themselves, and of those that lend theirs."""

    own: frozenset[str]
    borrowed: frozenset[str]


@dataclass(frozen=True)
class ScoreRun:
    """One call of `xai score`: which photos, maps and metrics, and how.

    sources: the photos of this run; all_sources: those of the whole job, of which this run may be a shard: the control `other`
    takes its maps from them; given: maps from files, in place of methods.
    """

    sources: Sequence[Source]
    classifier: Classifier
    methods: Sequence[Method]
    metrics: Sequence[Metric]
    targets: TargetChoice = field(default_factory=TargetChoice)
    settings: Settings = field(default_factory=Settings)
    controls: bool = True
    truth: Truth | None = None
    keep_going: bool = False
    all_sources: Sequence[Source] = ()
    given: Sequence[GivenMaps] = ()

    def check(self) -> None:
        """Raise UsageError before any work where a method cannot run, or a metric cannot score its maps."""
        for method in self.methods:
            require_fit(method, self.classifier)
        columns = [(method.label, method.sign, True) for method in self.methods]
        for label, sign, explains in [*columns, *((maps.label, maps.sign, False) for maps in self.given)]:
            refuse_unfit(
                self.metrics,
                label=label,
                sign=sign,
                explains=explains,
                provides=self.classifier.provides,
                model=self.classifier.name,
                truth=self.truth is not None,
            )

    @cached_property
    def explainers(self) -> list[Method]:
        """The methods, and the controls that are methods too."""
        named = {method.name for method in self.methods}
        return [*self.methods, *(make_method(name) for name in CONTROLS if self.controls and name not in named)]

    @cached_property
    def contents(self) -> dict[Source, str]:
        """Content hashes of all photos of the job that can be read."""
        hashes = {source: content_hash(source) for source in dict.fromkeys([*self.all_sources, *self.sources])}
        return {source: content for source, content in hashes.items() if content is not None}

    @cached_property
    def lenders(self) -> dict[Source, str]:
        """Contents of the photos whose maps the control `other` borrows; empty without controls, or where there is one photo."""
        return self.contents if self.controls and len(set(self.contents.values())) > 1 else {}

    @cached_property
    def blanks(self) -> list[Explanation]:
        """What is known of each column of maps before any map is made, controls included."""
        blank = empty_maps()
        own = [
            Explanation.of(method, blank, self.classifier, control=method.name in CONTROLS and method not in self.methods)
            for method in self.explainers
        ]
        own += [maps.explanation(blank) for maps in self.given]
        return own + [other(one, blank.values) for one in own if self.lenders and not one.control]

    @cached_property
    def borrowers(self) -> list[tuple[Explanation, str]]:
        """The controls `other` among the blanks, each with the label of the method that it belongs to."""
        own = len(self.explainers) + len(self.given)
        lending = (blank.label for blank in self.blanks[:own] if not blank.control)
        return list(zip(self.blanks[own:], lending, strict=False))

    @property
    def labels(self) -> list[str]:
        """What is scored, controls apart."""
        return [method.label for method in self.methods] + [maps.label for maps in self.given]

    @cached_property
    def circumstances(self) -> Circumstances:
        return Circumstances(
            seed=self.settings.seed,
            target_rule=self.targets.text,
            precision=self.settings.precision,
            batch_size=self.settings.batch_size,
        )

    @cached_property
    def recipes(self) -> list[Recipe]:
        """The recipe of every column of scores."""
        return [
            blank.recipe(metric, self.circumstances)
            for blank in self.blanks
            for metric in self.metrics
            if not blank.control or readable(blank, metric)
        ]

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

    def missing(self, store: Store, sources: Sequence[Source]) -> NDArray[np.bool_]:
        """(sources, recipes): what the store does not hold yet. A photo that cannot be read is missing."""
        photos = [(self.contents.get(source, ""), source.frame) for source in sources]
        return store.missing(
            photos,
            self.recipes,
            model=self.classifier.fingerprint,
            seed=self.settings.seed,
            targets=self.known_targets(sources),
        )

    def known_targets(self, sources: Sequence[Source]) -> list[str | None]:
        rules = [self.targets.rule_of(source) for source in sources]
        return [None if rule.top else str(rule) for rule in rules]

    def run(self, store: Store) -> Generator[list[Row] | Failure, None, None]:
        """Score what the store lacks and keep it, one transaction a photo; yields the new rows of each photo, or why it has none.

        A failure is the last that is yielded, unless the run keeps going. Raises InputError where the store cannot be written to.
        """
        todo = self.incomplete(store, self.sources)
        order = sorted(todo, key=lambda source: self.contents.get(source, "")) if self.lenders else todo
        shelf = Shelf(self.classifier, self.explainers, self.given, self.targets, self.settings, self.lenders)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            first = self.each_once(batch)
            # A copy is the same photo to the store: once the first is there nothing is left to do, unless that could not be used.
            for part in (first, *([copy] for copy in batch if copy not in first)):
                # Another process may have done some of these meanwhile.
                for result in self.score_batch(self.incomplete(store, part), shelf, store):
                    yield result
                    if isinstance(result, Failure) and not self.keep_going:
                        return
            shelf.keep_only(order[start + BATCH :])

    def incomplete(self, store: Store, sources: Sequence[Source]) -> list[Source]:
        """The photos of which the store lacks a row."""
        gaps = self.missing(store, sources)
        return [source for source, gap in zip(sources, gaps, strict=True) if gap.any()]

    def each_once(self, sources: Sequence[Source]) -> list[Source]:
        """Photos without copies: of one content, frame and target the first."""
        found: dict[object, Source] = {}
        for source, target in zip(sources, self.known_targets(sources), strict=True):
            found.setdefault((self.contents.get(source, source.path), source.frame, target), source)
        return list(found.values())

    def score_batch(self, batch: Sequence[Source], shelf: Shelf, store: Store) -> Iterator[list[Row] | Failure]:
        """Explain and score a few photos; those before a failure are kept."""
        if not batch:
            return
        wanted = self.wanted(self.missing(store, batch))
        shelf.fetch(batch, wanted.own)
        usable: list[Source] = []
        failures = []
        for source in batch:
            if source in shelf.faults:
                failures.append(Failure(source, shelf.faults[source]))
                if not self.keep_going:
                    break
            else:
                usable.append(source)
        if wanted.borrowed:
            shelf.borrow(usable, wanted.borrowed)
        try:
            done = self.score_usable(usable, shelf, store, wanted) if usable else []
        except XaiError as error:
            if len(usable) > 1:
                for source in usable:
                    yield from self.score_batch([source], shelf, store)
            else:
                yield Failure(usable[0], error)
        else:
            for rows, kept in done:
                store.add(rows, self.recipes, maps=kept, run=self.record)
                yield rows
        yield from failures

    def wanted(self, gaps: NDArray[np.bool_]) -> Wanted:
        """Which maps it takes to fill gaps (photos, recipes)."""
        labels = {recipe.method for recipe, gap in zip(self.recipes, gaps.T, strict=True) if gap.any()}
        borrowed = {blank.label: label for blank, label in self.borrowers if blank.label in labels}
        return Wanted(frozenset({*(labels - borrowed.keys()), *borrowed.values()}), frozenset(borrowed.values()))

    def score_usable(
        self, sources: Sequence[Source], shelf: Shelf, store: Store, wanted: Wanted
    ) -> list[tuple[list[Row], list[KeptMap]]]:
        """The new rows of each photo and the maps to be kept beside them."""
        loaded = [shelf.photos[source] for source in sources]
        scene = self.scene(loaded)
        explanations = self.explanations(sources, shelf, wanted)
        run = dataclasses.replace(self.circumstances, done=self.held(scene, explanations, ~self.missing(store, sources)))
        rows = score_maps(self.classifier, scene, explanations, self.metrics, run).rows
        return [
            ([row for row in rows if row.image == image], self.kept_maps(at, loaded[at], scene, explanations))
            for at, image in enumerate(scene.images)
        ]

    def held(
        self, scene: Scene, explanations: Sequence[Explanation], there: NDArray[np.bool_]
    ) -> frozenset[tuple[str, str, int]]:
        """Keys of the rows that the store holds; there: (photos, recipes)."""
        targets = {explanation.label: explanation.maps.targets for explanation in explanations}
        return frozenset(
            (self.recipes[column].definition, subject_of(scene, at, self.classifier, name), self.settings.seed)
            for at, column in zip(*(places.tolist() for places in there.nonzero()), strict=True)
            if self.recipes[column].method in targets
            for name in targets[self.recipes[column].method].names(at)
        )

    def scene(self, loaded: Sequence[Loaded]) -> Scene:
        view = self.classifier.view
        return Scene(
            images=tuple(item.source.path for item in loaded),
            contents=tuple(item.photo.content for item in loaded),
            frames=tuple(item.photo.frame for item in loaded),
            inputs=torch.stack([item.input for item in loaded]).to(self.classifier.device),
            truth=[self.truth.of(item.source.path, item.photo.image.size, view) for item in loaded] if self.truth else None,
        )

    def explanations(self, sources: Sequence[Source], shelf: Shelf, wanted: Wanted) -> list[Explanation]:
        """The blanks that are wanted with the maps of these photos, those of the control `other` taken from their lenders."""
        filled = {}
        for blank in self.blanks:
            if blank.label in wanted.own:
                maps = joined([shelf.maps[source][blank.label] for source in sources])
                filled[blank.label] = dataclasses.replace(blank, maps=maps)
        for blank, label in self.borrowers:
            if label in wanted.borrowed and all(source in shelf.lender for source in sources):
                borrowed = torch.cat([shelf.maps[shelf.lender[source]][label].values for source in sources])
                filled[blank.label] = other(filled[label], borrowed)
        return list(filled.values())

    def kept_maps(self, at: int, loaded: Loaded, scene: Scene, explanations: Sequence[Explanation]) -> list[KeptMap]:
        """One photo's maps as a report draws them; controls are not kept."""
        kept = []
        width, height = loaded.photo.image.size
        left, top, right, bottom = self.classifier.view.geometry(width, height).extent
        box = (left / width, top / height, right / width, bottom / height)
        for explanation in explanations:
            if explanation.control:
                continue
            recipe = explanation.recipe(self.metrics[0], self.circumstances)
            for target, name in enumerate(explanation.maps.targets.names(at)):
                values = explanation.maps.values[at, target].detach().cpu().numpy()
                kept.append(
                    KeptMap(
                        subject=subject_of(scene, at, self.classifier, name),
                        method_definition=recipe.method_definition,
                        method=explanation.label,
                        seed=self.settings.seed,
                        values=values,
                        box=box,
                        signed=explanation.sign.value == "signed",
                    )
                )
        return kept


def shard(sources: Sequence[Source], part: int, parts: int) -> list[Source]:
    """The photos of one of `parts` shards, 1 to `parts`, by content: the same on every machine, whatever the order.

    One that cannot be read is in the first, to be reported once.
    """
    places = ((content_hash(source) or "0", source) for source in sources)
    return [source for content, source in places if int(content[:8], 16) % parts == part - 1]
