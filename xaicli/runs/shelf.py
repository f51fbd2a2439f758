"""Photos and maps that are at hand while many photos are scored: those in work, and those that others borrow from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from xaicli.errors import XaiError
from xaicli.images.source import Source
from xaicli.method import Maps, Method
from xaicli.network.classifier import Classifier
from xaicli.runs.controls import ring
from xaicli.runs.explain import maps_of_each
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.photos import Failure, Loaded, load_ahead
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.targets import Resolved


@dataclass
class Shelf:
    """Loaded photos, their maps by method label, and what is wrong with those that cannot be used.

    contents: of all photos of the job, those that lend their maps to the control `other`; empty where nobody borrows.
    """

    classifier: Classifier
    methods: Sequence[Method]
    given: Sequence[GivenMaps]
    targets: TargetChoice
    settings: Settings
    contents: Mapping[Source, str]
    photos: dict[Source, Loaded] = field(default_factory=dict)
    maps: dict[Source, dict[str, Maps]] = field(default_factory=dict)
    faults: dict[Source, XaiError] = field(default_factory=dict)
    lender: dict[Source, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.neighbours: dict[Source, Callable[[], Iterator[Source]]] = ring(self.contents)

    def fetch(self, sources: Sequence[Source], labels: Collection[str]) -> None:
        """Load photos and make those of their maps that are not here."""
        fresh = [source for source in sources if source not in self.photos and source not in self.faults]
        for item in load_ahead(fresh, self.classifier.view, self.settings.background):
            if isinstance(item, Failure):
                self.faults[item.source] = item.error
            else:
                self.photos[item.source] = item
                self.maps[item.source] = {}
        for method in self.methods:
            if method.label in labels:
                lacking = self.lacking(sources, method.label)
                made = maps_of_each(lacking, self.classifier, method, self.targets, self.settings)
                self.take(lacking, method.label, made)
        for given in self.given:
            if given.label in labels:
                lacking = self.lacking(sources, given.label)
                self.take(lacking, given.label, [self.read(given, item) for item in lacking])

    def lacking(self, sources: Sequence[Source], label: str) -> list[Loaded]:
        usable = (source for source in dict.fromkeys(sources) if source not in self.faults)
        return [self.photos[source] for source in usable if label not in self.maps[source]]

    def take(self, photos: Sequence[Loaded], label: str, made: Sequence[Maps | XaiError]) -> None:
        for item, maps in zip(photos, made, strict=True):
            if isinstance(maps, XaiError):
                self.faults[item.source] = maps
            else:
                self.maps[item.source][label] = maps

    def read(self, given: GivenMaps, item: Loaded) -> Maps | XaiError:
        try:
            return given.read(item, self.classifier, self.targets)
        except XaiError as error:
            return error

    def borrow(self, sources: Sequence[Source], labels: Collection[str]) -> None:
        """Find for each photo the next one, by content, that can lend its maps, whatever batch, order or shard it is in.

        A photo that cannot be used lends nothing and costs nobody a score: the one after it is taken.
        """
        looking = {source: self.neighbours[source]() for source in sources if source in self.neighbours}
        while looking:
            asked = {source: found for source, rest in looking.items() if (found := next(rest, None)) is not None}
            self.fetch(list(asked.values()), labels)
            looking = {source: looking[source] for source, found in asked.items() if found in self.faults}
            self.lender |= {source: found for source, found in asked.items() if found not in self.faults}

    def keep_only(self, coming: Sequence[Source]) -> None:
        """Let go of what no coming photo needs, nor is likely to borrow."""
        next_ones = (next(self.neighbours[source](), source) for source in coming if source in self.neighbours)
        needed = {*coming, *next_ones}
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
