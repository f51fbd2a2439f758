"""Explaining photos into a folder: skip what is complete, explain the rest, write while the network works.

A photo is read once: its maps are scored, drawn and written while it is in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from xaicli.attribution import Attribution
from xaicli.claims import identity_of
from xaicli.errors import XaiError
from xaicli.files import require_writable, write_atomic
from xaicli.images.picture_file import write_png
from xaicli.images.sheet import layout, thumbnail
from xaicli.images.source import Source
from xaicli.method import Cost, Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.record import Record
from xaicli.runs.channel_pictures import channel_endings, draw_channels, has_channels
from xaicli.runs.counterfactual_pictures import counterfactual_endings, draw_counterfactual, has_counterfactual
from xaicli.runs.link_pictures import LinkPictures
from xaicli.runs.map_scores import explainers_of, refuse_unscorable, scores_of_maps
from xaicli.runs.output import Complete, OutputFolder, find_complete, refuse_other, refuse_taken
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.runs.photo_maps import Explained, explain_photos
from xaicli.runs.photo_room import PhotoRoom
from xaicli.runs.photos import Failure
from xaicli.runs.result_claim import ENDINGS, claimed, refuse_foreign, refuse_foreign_further, release
from xaicli.runs.settings import Settings
from xaicli.runs.step_pictures import STEPS, StepPictures
from xaicli.runs.target_choice import TargetChoice
from xaicli.runs.written_map import WrittenMap
from xaicli.scoring.explanation import Explainer
from xaicli.suitability import require_fit
from xaicli.untrusted import is_there

WRITE_THREADS = 2
WRITES_WAITING = 4


@dataclass(frozen=True, eq=False)
class MapInHand:
    """A map with its photo, and the stem of its files. on_disk: its record, if the files are already complete."""

    attribution: Attribution
    method: Method
    stem: Path
    on_disk: Record | None = None


@dataclass(frozen=True)
class FolderRun:
    """One call of `xai explain` that writes a folder: what is explained, how, and where results go.

    metrics: scores beside the maps; step_pictures: pictures of maps that grow step by step; link_pictures: of pairs of segments;
    shared: overlays get one scale per method at the end; sheet: a contact sheet will show the photos; inputs: files that the run
    reads, its photos among them.
    """

    sources: Sequence[Source]
    classifier: Classifier
    methods: Sequence[Method]
    targets: TargetChoice
    settings: Settings
    output: OutputFolder
    style: OverlayStyle = field(default_factory=OverlayStyle)
    overwrite: bool = False
    keep_going: bool = False
    metrics: Sequence[Metric] = ()
    step_pictures: StepPictures = field(default_factory=StepPictures)
    link_pictures: LinkPictures = field(default_factory=LinkPictures)
    shared: bool = False
    sheet: bool = False
    inputs: Sequence[Path] = ()

    def find(self) -> Complete:
        """What is already complete; raises UsageError if another result has a name that this run would write."""
        endings = [*ENDINGS, *self.step_pictures.endings, *self.link_pictures.endings]
        refuse_taken(self.output, self.sources, self.methods, self.targets, self.inputs, endings, overwrite=self.overwrite)
        if self.overwrite:
            return Complete()
        return find_complete(self.output, self.sources, self.methods, self.targets, self.classifier, self.settings)

    def check_metrics(self) -> None:
        """Raise UsageError before any work if a metric cannot score a method's maps."""
        refuse_unscorable(self.metrics, self.explainers if self.metrics else {}, self.classifier)

    def check(self) -> None:
        """Raise XaiError before any work if a method cannot run on this classifier, or if the folder cannot be written."""
        self.style.check()
        for method in self.methods:
            require_fit(method, self.classifier)
        if self.output.remote is not None:
            self.output.remote.require_writable()
        require_writable(self.output.folder)

    @cached_property
    def reads(self) -> frozenset[tuple[int, int]]:
        """Identities of the files that the run reads: looked up once, not once a photo."""
        return frozenset(identity for path in self.inputs if (identity := identity_of(path)) is not None)

    @cached_property
    def explainers(self) -> dict[str, Explainer]:
        return explainers_of(self.methods, self.classifier, self.targets, self.settings)

    @cached_property
    def thumbnail_side(self) -> int:
        """Pixels of a photo on the sheet."""
        columns = len(self.methods) * max(1, self.targets.count)
        return layout(columns, len(self.sources))[1]

    def cost(self) -> dict[str, Cost]:
        """Passes per photo by method label."""
        return {method.label: method.cost(self.classifier) for method in self.methods}

    def run(self, found: Complete) -> Generator[list[WrittenMap] | Failure, None, None]:
        """Yield the results of each photo, in the order given, once they are on disk, or a Failure.

        A Failure is the last item unless the run keeps going.
        """
        todo = [source for source in self.sources if not self.is_done(source, found)]
        # All overlays but the last are drawn on a copy of the photo.
        room = PhotoRoom(copies=min(2, len(self.methods) * max(1, self.targets.count)))
        explained = explain_photos(
            todo, self.classifier, self.methods, self.targets, self.settings, lambda *pair: not found.has(*pair), room
        )
        waiting: deque[Future[list[WrittenMap] | Failure]] = deque()
        result: Explained | Failure | None = None
        with ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="write") as pool:
            for source in self.sources:
                result = None if self.is_done(source, found) else next(explained)
                if isinstance(result, Failure) and not self.keep_going:
                    break
                if result is None:
                    waiting.append(pool.submit(self.keep, source, found))
                elif isinstance(result, Failure):
                    waiting.append(pool.submit(lambda failure: failure, result))
                else:
                    maps, fault = self.in_hand(result, found)
                    room.draw(result.loaded)
                    waiting.append(pool.submit(self.write, result, maps))
                    # Only the thread holds the photo, which is freed once it is drawn.
                    del maps
                    result = None if fault is None else Failure(source, fault)
                    if result is not None:
                        if not self.keep_going:
                            break
                        waiting.append(pool.submit(lambda failure: failure, result))
                while len(waiting) > WRITES_WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if isinstance(result, Failure) and not self.keep_going:
                yield result

    def is_done(self, source: Source, found: Complete) -> bool:
        """Whether a photo needs no further work and so need not be read."""
        if self.sheet or not all(found.has(source, method) for method in self.methods):
            return False
        return all(self.is_current(record) for method in self.methods for record in found.records[source, method.label])

    def is_current(self, record: Record) -> bool:
        """Whether a record has all scores, its overlay has the run's style, and no steps or links are to be drawn."""
        steps = self.step_pictures.wanted and (STEPS in record.arrays or bool(record.view.get("frames")))
        links = self.link_pictures.wanted and bool(record.pairs)
        return not (steps or links or self.lacks_scores(record) or self.lacks_style(record))

    def lacks_scores(self, record: Record) -> bool:
        return any(metric.label not in record.scores for metric in self.metrics)

    def lacks_style(self, record: Record) -> bool:
        """Whether an overlay has another style than the run's. A shared scale is applied at the end of the run."""
        return not self.shared and record.status != "non-finite" and record.look != self.style.as_dict()

    def stem(self, source: Source, method: Method, target: str) -> Path:
        return self.output.folder / self.output.stem(source, method, self.targets, target)

    def keep(self, source: Source, found: Complete) -> list[WrittenMap]:
        """The maps of a photo that is done."""
        kept = []
        for method in self.methods:
            for record in found.records[source, method.label]:
                stem = self.stem(source, method, record.target)
                release(stem)
                kept.append(WrittenMap.of(source, record, stem, kept=True))
        return kept

    def in_hand(self, result: Explained, found: Complete) -> tuple[list[MapInHand], XaiError | None]:
        """All maps of a photo with their scores, complete ones included; and the error, if scoring failed."""
        source, photo = result.loaded.source, result.loaded.photo.image
        maps: list[MapInHand] = []
        try:
            for method in self.methods:
                for made in result.made.get(method.label, ()):
                    maps.append(MapInHand(made, method, self.stem(source, method, made.record.target)))
                for record in found.records.get((source, method.label), ()):
                    stem = self.stem(source, method, record.target)
                    self.output.fetch(stem, record)
                    maps.append(MapInHand(Attribution.load(Path(f"{stem}.json"), photo), method, stem, record))
            return self.with_scores(result, maps), None
        except XaiError as error:
            return maps, error

    def with_scores(self, result: Explained, maps: list[MapInHand]) -> list[MapInHand]:
        lacking = [one.attribution for one in maps if self.lacks_scores(one.attribution.record)]
        if not lacking:
            return maps
        scores = scores_of_maps(
            result.loaded, lacking, self.metrics, self.explainers, self.classifier, self.targets, self.settings.seed
        )
        scored = []
        for one in maps:
            record = one.attribution.record
            known = {**record.scores, **scores.get((record.method, record.target), {})}
            scored.append(replace(one, attribution=replace(one.attribution, record=replace(record, scores=known))))
        return scored

    def write(self, result: Explained, maps: Sequence[MapInHand]) -> list[WrittenMap]:
        source, written = result.loaded.source, []
        small = thumbnail(result.loaded.photo.image, self.thumbnail_side) if self.sheet else None
        # The last overlay is drawn on the photo itself, which is not needed afterwards.
        further = self.step_pictures.wanted or self.link_pictures.wanted
        further |= any(has_channels(one.attribution) or has_counterfactual(one.attribution) for one in maps)
        last = None if further or not maps else maps[-1]
        for one in maps:
            if one.on_disk is None:
                record = self.save(source, one, in_place=one is last)
                draw_channels(one.attribution, one.stem, self.style)
                draw_counterfactual(one.attribution, one.stem)
            else:
                record = self.update(one, one.on_disk)
            self.step_pictures.draw(one.attribution, one.stem, self.style)
            self.link_pictures.draw(one.attribution, one.stem, self.style)
            if self.output.remote is not None:
                self.output.remote.send(one.stem, self.endings(one), keep=self.shared or self.sheet)
            written.append(WrittenMap.of(source, record, one.stem, kept=one.on_disk is not None, thumbnail=small))
        return written

    def save(self, source: Source, one: MapInHand, *, in_place: bool) -> Record:
        """Write a new map, its overlay and, last, its record."""
        styled = self.styled(one.attribution)
        with claimed(one.stem) as claim:
            self.require_free(source, one, begun=claim.begun)
            claim.begin()
            drawing = None if styled.status == "non-finite" else self.style.draw(styled, in_place=in_place)
            styled.save(self.output.folder, one.stem.relative_to(self.output.folder).as_posix(), drawing=drawing)
        return styled.record

    def update(self, one: MapInHand, on_disk: Record) -> Record:
        """Bring overlay and record of a map that was complete up to date."""
        release(one.stem)
        attribution = one.attribution
        if self.lacks_style(on_disk):
            attribution = self.styled(attribution)
            write_png(Path(f"{one.stem}.png"), self.style.draw(attribution))
        if attribution.record != on_disk:
            content = attribution.record.to_json().encode()
            write_atomic(Path(f"{one.stem}.json"), lambda file: file.write(content))
        return attribution.record

    def endings(self, one: MapInHand) -> list[str]:
        """Of all files that a result may have."""
        return [*ENDINGS, *further_endings(one.attribution), *self.step_pictures.endings, *self.link_pictures.endings]

    def styled(self, attribution: Attribution) -> Attribution:
        return replace(attribution, record=replace(attribution.record, look=self.style.as_dict()))

    def require_free(self, source: Source, one: MapInHand, *, begun: bool) -> None:
        """Raise UsageError if another run wrote a different result here in the meantime, or a file of others has a name of it."""
        refuse_foreign_further(one.stem, further_endings(one.attribution), self.reads, begun=begun or self.overwrite)
        if self.overwrite:
            return
        refuse_foreign(one.stem, begun=begun)
        if is_there(sidecar := Path(f"{one.stem}.json")):
            refuse_other(sidecar, source, one.method, self.targets, self.classifier, self.settings)


def further_endings(attribution: Attribution) -> list[str]:
    """Of the files that only some maps have."""
    arrays = [f".{name}.npy" for name in attribution.extras]
    return [*arrays, *channel_endings(attribution), *counterfactual_endings(attribution)]
