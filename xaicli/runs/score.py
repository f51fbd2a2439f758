"""Scoring many photos with many methods and metrics into a store: what `xai score`, `xai compare` and the gate share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from xaicli.errors import InputError, XaiError
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth
from xaicli.method import Maps, Method
from xaicli.metric import Metric
from xaicli.models.classifier import Classifier
from xaicli.registry import make_method, refuse_unmet
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Recipe, Row, Run
from xaicli.runs.columns import subject_of
from xaicli.runs.controls import other, partners
from xaicli.runs.explain import maps_of_each
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.photos import Failure, Loaded, load_ahead
from xaicli.runs.records import resolved_layer, versions
from xaicli.runs.scene import Circumstances, Explanation, Scene
from xaicli.runs.scoring import readable, refuse_unfit, score_maps
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.targets import Resolved

BATCH = 4
"""Photos scored together: enough to fill the queue's batches, few enough that a killed run loses little."""

CONTROLS = ("random", "center")
LARGEST_KEPT = 56
"""Cells a side. Maps are kept beside the scores so that a report can draw them; finer ones are kept coarser."""


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
            refuse_unmet(method, self.classifier.provides, self.classifier.name)
            refuse_unfit(
                self.metrics,
                label=method.label,
                sign=method.sign,
                explains=True,
                provides=self.classifier.provides,
                model=self.classifier.name,
                truth=self.truth is not None,
            )
        for maps in self.given:
            refuse_unfit(
                self.metrics,
                label=maps.label,
                sign=maps.sign,
                explains=False,
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
    def partner(self) -> dict[Source, Source]:
        """For each photo the one whose maps the control `other` borrows; empty without controls, or where there is one photo."""
        if not self.controls:
            return {}
        sources = list(self.contents)
        places = partners(list(self.contents.values()))
        return {source: sources[place] for source, place in zip(sources, places, strict=bool(places))}

    @cached_property
    def blanks(self) -> list[Explanation]:
        """What is known of each column of maps before any map is made, controls included."""
        blank = empty_maps()
        own = [
            Explanation.of(method, blank, self.classifier, control=method.name in CONTROLS and method not in self.methods)
            for method in self.explainers
        ]
        own += [maps.explanation(blank) for maps in self.given]
        return own + [other(one, blank.values) for one in own if self.partner and not one.control]

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
            self.recipes(),
            model=self.classifier.fingerprint,
            seed=self.settings.seed,
            targets=self.known_targets(sources),
        )

    def known_targets(self, sources: Sequence[Source]) -> list[str | None]:
        rules = [self.targets.rule_of(source) for source in sources]
        return [None if rule.top else str(rule) for rule in rules]

    def run(self, store: Store) -> Iterator[list[Row] | Failure]:
        """Score what the store lacks and keep it, one transaction a photo; yields the new rows of each photo, or why it has none.

        A failure is the last that is yielded, unless the run keeps going.
        """
        if not self.sources:
            return
        todo = [source for source, gaps in zip(self.sources, self.missing(store, self.sources), strict=True) if gaps.any()]
        order = sorted(todo, key=lambda source: self.contents.get(source, "")) if self.partner else todo
        shelf = Shelf(self)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            # Another process may have done some of these meanwhile.
            batch = [source for source, gaps in zip(batch, self.missing(store, batch), strict=True) if gaps.any()]
            for result in self.score_batch(batch, shelf, store):
                yield result
                if isinstance(result, Failure) and not self.keep_going:
                    return
            shelf.keep_only(order[start + BATCH :])

    def score_batch(self, batch: Sequence[Source], shelf: Shelf, store: Store) -> Iterator[list[Row] | Failure]:
        """Explain and score a few photos; those before a failure are kept."""
        shelf.fetch(batch)
        usable = []
        failures = []
        for source in batch:
            fault = shelf.faults.get(source) or shelf.faults.get(self.partner.get(source, source))
            if fault is not None:
                failures.append(Failure(source, fault))
                if not self.keep_going:
                    break
            else:
                usable.append(source)
        if usable:
            try:
                yield from self.score_usable(usable, shelf, store)
            except XaiError as error:
                if len(usable) == 1:
                    yield Failure(usable[0], error)
                    return
                for source in usable:
                    yield from self.score_batch([source], shelf, store)
        yield from failures

    def score_usable(self, sources: Sequence[Source], shelf: Shelf, store: Store) -> Iterator[list[Row]]:
        loaded = [shelf.photos[source] for source in sources]
        scene = self.scene(loaded)
        explanations = self.explanations(sources, shelf)
        scored = score_maps(self.classifier, scene, explanations, self.metrics, self.circumstances)
        gaps = self.missing(store, sources)
        columns = {recipe.definition: place for place, recipe in enumerate(self.recipes())}
        for at, photo in enumerate(scene.contents):
            rows = [row for row in scored.rows if row.photo == photo and gaps[at, columns[row.definition]]]
            kept = self.kept_maps(at, loaded[at], scene, explanations) if store.keeps_maps else []
            store.add(rows, scored.recipes, maps=kept, run=self.record)
            yield rows

    def scene(self, loaded: Sequence[Loaded]) -> Scene:
        view = self.classifier.view
        return Scene(
            images=tuple(item.source.path for item in loaded),
            contents=tuple(item.photo.content for item in loaded),
            frames=tuple(item.photo.frame for item in loaded),
            inputs=torch.stack([item.input for item in loaded]).to(self.classifier.device),
            truth=[self.truth.of(item.source.path, item.photo.image.size, view) for item in loaded] if self.truth else None,
        )

    def explanations(self, sources: Sequence[Source], shelf: Shelf) -> list[Explanation]:
        """The blanks with the maps of these photos, those of the control `other` taken from their partners."""
        own = {}
        for blank in self.blanks[: len(self.explainers) + len(self.given)]:
            own[blank.label] = dataclasses.replace(blank, maps=joined([shelf.maps[source][blank.label] for source in sources]))
        filled = list(own.values())
        for blank in self.blanks[len(own) :]:
            label = blank.label.removeprefix("other@base=")
            borrowed = torch.cat([shelf.maps[self.partner[source]][label].values for source in sources])
            filled.append(other(own[label], borrowed))
        return filled

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
                values = coarse(explanation.maps.values[at, target])
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


@dataclass
class Shelf:
    """Photos and maps that are at hand: of the photos in work, and of those that others borrow from."""

    run: ScoreRun
    photos: dict[Source, Loaded] = field(default_factory=dict)
    maps: dict[Source, dict[str, Maps]] = field(default_factory=dict)
    faults: dict[Source, XaiError] = field(default_factory=dict)

    def fetch(self, batch: Sequence[Source]) -> None:
        """Load and explain the photos of a batch and their partners, unless they are here already."""
        run = self.run
        wanted = dict.fromkeys([*batch, *(run.partner[source] for source in batch if source in run.partner)])
        absent = [source for source in wanted if source not in self.maps and source not in self.faults]
        loaded: list[Loaded] = []
        for item in load_ahead(absent, run.classifier.view, run.settings.background):
            if isinstance(item, Failure):
                self.faults[item.source] = item.error
            else:
                loaded.append(item)
        for method in run.explainers:
            present = [item for item in loaded if item.source not in self.faults]
            made = maps_of_each(present, run.classifier, method, run.targets, run.settings)
            for item, maps in zip(present, made, strict=True):
                if isinstance(maps, XaiError):
                    self.faults[item.source] = maps
                else:
                    self.maps.setdefault(item.source, {})[method.label] = maps
        for item in loaded:
            self.photos[item.source] = item
            for given in run.given:
                self.maps.setdefault(item.source, {})[given.label] = given.read(item, run.classifier, run.targets)

    def keep_only(self, coming: Sequence[Source]) -> None:
        """Let go of what no coming photo needs."""
        needed = {*coming, *(self.run.partner[source] for source in coming if source in self.run.partner)}
        self.photos = {source: item for source, item in self.photos.items() if source in needed}
        self.maps = {source: maps for source, maps in self.maps.items() if source in needed}


def empty_maps() -> Maps:
    """Maps of no photos."""
    nothing = torch.zeros((0, 1), dtype=torch.int64)
    return Maps(torch.zeros((0, 1, 1, 1)), Resolved(nothing, nothing, torch.zeros((0, 1))), torch.zeros((0, 1)))


def joined(parts: Sequence[Maps]) -> Maps:
    """Maps of single photos as one batch."""
    targets = Resolved(
        torch.cat([part.targets.classes for part in parts]),
        torch.cat([part.targets.against for part in parts]),
        torch.cat([part.targets.scores for part in parts]),
    )
    return Maps(torch.cat([part.values for part in parts]), targets, torch.cat([part.logits for part in parts]))


def coarse(values: torch.Tensor) -> NDArray[np.float32]:
    """A map (h, w), averaged down to what a report needs."""
    height, width = values.shape
    if max(height, width) > LARGEST_KEPT:
        size = (min(height, LARGEST_KEPT), min(width, LARGEST_KEPT))
        values = functional.adaptive_avg_pool2d(values[None, None].float(), size)[0, 0]
    return np.asarray(values.detach().cpu().numpy(), dtype=np.float32)


def shard(sources: Sequence[Source], part: int, parts: int) -> list[Source]:
    """The photos of one of `parts` shards, 1 to `parts`, by content: the same on every machine, whatever the order."""
    chosen = []
    for source in sources:
        content = content_hash(source)
        if content is None:
            raise InputError(f"{source.path} cannot be read")
        if int(content[:8], 16) % parts == part - 1:
            chosen.append(source)
    return chosen
