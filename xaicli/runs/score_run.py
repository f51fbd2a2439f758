"""What a scoring run scores, and what of that a store lacks: shared by `xai score`, `xai compare` and the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.packages import versions
from xaicli.registry import CONTROLS, make_method
from xaicli.rows import OTHER, Recipe, Run
from xaicli.runs.controls import CONTROL_NAMES, Ring, other
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.records import resolved_layer
from xaicli.runs.region_target import canonical
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.scoring import refuse_unfit
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

    def todo(self, store: Holding) -> list[Source]:
        """The photos with at least one missing row; for blocks of a cluster, neighbours on the ring together."""
        todo = self.incomplete(store, self.sources)
        if self.ring.lends:
            todo.sort(key=lambda source: self.contents.get(source, ""))
        return todo

    def incomplete(self, store: Holding, sources: Sequence[Source]) -> list[Source]:
        """The photos with at least one missing row."""
        gaps = self.missing(store, sources)
        return [source for source, gap in zip(sources, gaps, strict=True) if gap.any()]
