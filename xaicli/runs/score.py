"""Scoring many photos with many methods and metrics into a store: what `xai score`, `xai compare` and the gate share."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import XaiError
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.packages import versions
from xaicli.registry import make_method, require_fit
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Recipe, Row, Run
from xaicli.runs.controls import other
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.photos import Failure, Loaded
from xaicli.runs.records import resolved_layer
from xaicli.runs.settings import Settings
from xaicli.runs.shelf import Shelf, empty_maps
from xaicli.runs.target_choice import TargetChoice
from xaicli.scoring.columns import subject_of
from xaicli.scoring.scene import Circumstances, Explanation, Scene
from xaicli.scoring.scoring import readable, refuse_unfit, score_maps

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

        One photo at a time is enough: the copies of its methods, metrics and steps fill the queue's batches, and a run that is
        killed loses the photo in work alone. A failure is the last that is yielded, unless the run keeps going. Raises
        InputError where the store cannot be written to.
        """
        todo = self.incomplete(store, self.sources)
        order = sorted(todo, key=lambda source: self.contents.get(source, "")) if self.lenders else todo
        shelf = Shelf(self.classifier, self.explainers, self.given, self.targets, self.settings, self.lenders)
        for place, source in enumerate(order):
            # Another process may have done it meanwhile, or a copy of it, the same photo to the store.
            if self.incomplete(store, [source]):
                result = self.score_photo(source, shelf, store)
                yield result
                if isinstance(result, Failure) and not self.keep_going:
                    return
            shelf.keep_only(order[place + 1 :])

    def incomplete(self, store: Store, sources: Sequence[Source]) -> list[Source]:
        """The photos of which the store lacks a row."""
        gaps = self.missing(store, sources)
        return [source for source, gap in zip(sources, gaps, strict=True) if gap.any()]

    def score_photo(self, source: Source, shelf: Shelf, store: Store) -> list[Row] | Failure:
        """Explain and score a photo, and keep its new rows."""
        wanted = self.wanted(self.missing(store, [source])[0])
        shelf.fetch([source], wanted.own)
        if source in shelf.faults:
            return Failure(source, shelf.faults[source])
        if wanted.borrowed:
            shelf.borrow([source], wanted.borrowed)
        try:
            rows, kept = self.new_rows(source, shelf, store, wanted)
        except XaiError as error:
            return Failure(source, error)
        store.add(rows, self.recipes, maps=kept, run=self.record)
        return rows

    def wanted(self, gaps: NDArray[np.bool_]) -> Wanted:
        """Which maps it takes to fill a photo's gaps (recipes,)."""
        labels = {recipe.method for recipe, gap in zip(self.recipes, gaps, strict=True) if gap}
        borrowed = {blank.label: label for blank, label in self.borrowers if blank.label in labels}
        return Wanted(frozenset({*(labels - borrowed.keys()), *borrowed.values()}), frozenset(borrowed.values()))

    def new_rows(self, source: Source, shelf: Shelf, store: Store, wanted: Wanted) -> tuple[list[Row], list[KeptMap]]:
        """The new rows of a photo and the maps to be kept beside them."""
        loaded = shelf.photos[source]
        scene = self.scene(loaded)
        explanations = self.explanations(source, shelf, wanted)
        run = dataclasses.replace(self.circumstances, done=self.held(scene, explanations, ~self.missing(store, [source])[0]))
        rows = score_maps(self.classifier, scene, explanations, self.metrics, run).rows
        return list(rows), self.kept_maps(loaded, scene, explanations)

    def held(
        self, scene: Scene, explanations: Sequence[Explanation], there: NDArray[np.bool_]
    ) -> frozenset[tuple[str, str, int]]:
        """Keys of the rows that the store holds; there: (recipes,)."""
        targets = {explanation.label: explanation.maps.targets for explanation in explanations}
        return frozenset(
            (recipe.definition, subject_of(scene, 0, self.classifier, name), self.settings.seed)
            for recipe, held in zip(self.recipes, there, strict=True)
            if held and recipe.method in targets
            for name in targets[recipe.method].names(0)
        )

    def scene(self, loaded: Loaded) -> Scene:
        """A photo alone."""
        path, photo = loaded.source.path, loaded.photo
        return Scene(
            images=(path,),
            contents=(photo.content,),
            frames=(photo.frame,),
            inputs=loaded.input[None].to(self.classifier.device),
            truth=[self.truth.of(path, photo.image.size, self.classifier.view)] if self.truth else None,
        )

    def explanations(self, source: Source, shelf: Shelf, wanted: Wanted) -> list[Explanation]:
        """The blanks that are wanted with the maps of a photo, those of the control `other` taken from its lender."""
        filled = {}
        for blank in self.blanks:
            if blank.label in wanted.own:
                filled[blank.label] = dataclasses.replace(blank, maps=shelf.maps[source][blank.label])
        for blank, label in self.borrowers:
            if label in wanted.borrowed and source in shelf.lender:
                filled[blank.label] = other(filled[label], shelf.maps[shelf.lender[source]][label].values)
        return list(filled.values())

    def kept_maps(self, loaded: Loaded, scene: Scene, explanations: Sequence[Explanation]) -> list[KeptMap]:
        """A photo's maps as a report draws them; controls are not kept."""
        kept = []
        width, height = loaded.photo.image.size
        left, top, right, bottom = self.classifier.view.geometry(width, height).extent
        box = (left / width, top / height, right / width, bottom / height)
        for explanation in explanations:
            if explanation.control:
                continue
            recipe = explanation.recipe(self.metrics[0], self.circumstances)
            for target, name in enumerate(explanation.maps.targets.names(0)):
                values = explanation.maps.values[0, target].detach().cpu().numpy()
                kept.append(
                    KeptMap(
                        subject=subject_of(scene, 0, self.classifier, name),
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
