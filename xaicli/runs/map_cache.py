"""A cache of photos and maps for scoring: the current ones, and those that wait for the control `other`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice

from xaicli.errors import XaiError
from xaicli.images.source import Source
from xaicli.method import Maps, Method
from xaicli.network.classifier import Classifier
from xaicli.runs.controls import Ring
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.map_shelf import MapShelf
from xaicli.runs.photo_maps import maps_of_each
from xaicli.runs.photos import Failure, LoadedPhoto, load
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice

Watch = Callable[[Source], None]


@dataclass
class MapCache:
    """Loaded photos, their maps by method label, and the errors of photos that cannot be used.

    ring: the photos of the whole job whose maps serve as the control `other`; empty without that control. watch: told of each
    photo before work on it begins; it may raise XaiError, and the photo then counts as one that cannot be used. lent: labels of
    the maps that photos lend each other; shelf: where these wait.
    """

    classifier: Classifier
    makers: Sequence[Method | GivenMaps]
    targets: TargetChoice
    settings: Settings
    ring: Ring
    watch: Watch = lambda source: None
    lent: Collection[str] = ()
    shelf: MapShelf = field(default_factory=MapShelf)
    photos: dict[Source, LoadedPhoto] = field(default_factory=dict)
    maps: dict[Source, dict[str, Maps]] = field(default_factory=dict)
    faults: dict[Source, XaiError] = field(default_factory=dict)

    def fetch(self, source: Source, labels: Set[str]) -> dict[str, Maps]:
        """A photo's maps by label, made if they are missing; raises XaiError if the photo cannot be used."""
        if source in self.faults:
            raise self.faults[source]
        if source not in self.maps:
            self.maps[source] = self.shelf.take(source)
        maps = self.maps[source]
        if labels <= maps.keys():
            return maps
        try:
            self.watch(source)
            loaded = self.load(source)
            for maker in self.makers:
                if maker.label in labels and maker.label not in maps:
                    maps[maker.label] = self.make(maker, loaded)
        except XaiError as error:
            self.faults[source] = error
            raise
        return maps

    def load(self, source: Source) -> LoadedPhoto:
        if source not in self.photos:
            own = self.settings
            loaded = load(source, self.classifier.view, own.background, own.decode_timeout, bands=own.bands, picture=False)
            if isinstance(loaded, Failure):
                raise loaded.error
            self.photos[source] = loaded
        return self.photos[source]

    def make(self, maker: Method | GivenMaps, loaded: LoadedPhoto) -> Maps:
        if isinstance(maker, GivenMaps):
            return maker.read(loaded, self.classifier, self.targets)
        (made,) = maps_of_each([loaded], self.classifier, maker, self.targets, self.settings)
        if isinstance(made, XaiError):
            raise made
        return made

    def lends(self, source: Source, labels: Set[str]) -> bool:
        """Whether a photo's maps can be made; they are then in the cache."""
        try:
            self.fetch(source, labels)
        except XaiError:
            return False
        return True

    def put_away(self, waiting: Callable[[Source], bool], done: Collection[Source], soon: Collection[Source]) -> None:
        """Keep at hand what is needed soon; put the maps of photos that wait on the shelf, and drop the others.

        done: a photo whose turn is over, and its partner.
        """
        for source in [source for source in self.maps if source not in soon]:
            lent = {label: maps for label, maps in self.maps.pop(source).items() if label in self.lent}
            if lent and waiting(source):
                self.shelf.put(source, lent)
        self.photos = {source: loaded for source, loaded in self.photos.items() if source in soon}
        for source in done:
            if not waiting(source):
                self.shelf.drop(source)


class Lending:
    """Which photos lend their maps to photos that are still to be scored, as far as is known which can be used.

    What changes with one photo is looked up, never all of them: a job may have very many.
    """

    def __init__(self, cache: MapCache, borrowers: Iterable[Source]) -> None:
        self.cache = cache
        self.borrowers: dict[Source, set[Source]] = {}
        self.lender: dict[Source, Source] = {}
        self.known_faults = 0
        for borrower in borrowers:
            self.lend(borrower)

    def lend(self, borrower: Source) -> None:
        """Find the next photo that can be used."""
        lender = next((one for one in self.cache.ring.after(borrower) if one not in self.cache.faults), None)
        if lender is not None:
            self.lender[borrower] = lender
            self.borrowers.setdefault(lender, set()).add(borrower)

    def end(self, borrower: Source) -> None:
        """Take note that a photo was scored, and of those that meanwhile proved to be of no use."""
        faults = list(islice(self.cache.faults, self.known_faults, None))
        self.known_faults += len(faults)
        for fault in faults:
            for one in self.borrowers.pop(fault, ()):
                del self.lender[one]
                self.lend(one)
        lender = self.lender.pop(borrower, None)
        if lender is not None:
            self.borrowers[lender].discard(borrower)
            if not self.borrowers[lender]:
                del self.borrowers[lender]
