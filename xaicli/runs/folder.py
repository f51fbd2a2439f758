"""Explaining photos into a folder: skip what is complete, explain the rest, write while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from xaicli.attribution import Attribution, Record
from xaicli.files import require_writable
from xaicli.images.source import Source
from xaicli.method import Cost, Method
from xaicli.network.classifier import Classifier
from xaicli.registry import require_fit
from xaicli.runs.explain import Explained, batch_size_for, explain_photos
from xaicli.runs.output import Complete, OutputFolder, find_complete, refuse_other, refuse_taken
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.runs.photos import Failure
from xaicli.runs.result_claim import claimed, refuse_foreign, release
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.untrusted import is_there

WRITE_THREADS = 2
WRITES_WAITING = 4


@dataclass(frozen=True)
class Written:
    """One line of the result: a map's record and its files. `kept` says that it was complete before."""

    source: Source
    record: Record
    stem: Path
    kept: bool = False

    def path(self, ending: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}{ending}")

    @property
    def picture(self) -> str:
        """The overlay, or the array where the map cannot be drawn."""
        ending = ".npy" if self.record.status == "non-finite" else ".png"
        return f"{self.stem}{ending}"


@dataclass(frozen=True)
class FolderRun:
    """One call of `xai explain`: what is explained, how, and where to."""

    sources: Sequence[Source]
    classifier: Classifier
    methods: Sequence[Method]
    targets: TargetChoice
    settings: Settings
    output: OutputFolder
    style: OverlayStyle = field(default_factory=OverlayStyle)
    overwrite: bool = False
    keep_going: bool = False

    def find(self) -> Complete:
        """What is complete already; raises UsageError where another result stands in a place that this run would write."""
        refuse_taken(self.output, self.sources, self.methods, self.targets, overwrite=self.overwrite)
        if self.overwrite:
            return Complete()
        return find_complete(self.output, self.sources, self.methods, self.targets, self.classifier, self.settings)

    def check(self) -> None:
        """Raise before any work where a method cannot run on this classifier, or the folder cannot be written."""
        self.style.check()
        for method in self.methods:
            require_fit(method, self.classifier)
        require_writable(self.output.folder)

    @property
    def batch_size(self) -> int:
        """Photos that are explained at a time."""
        return self.settings.batch_size or batch_size_for(self.methods, self.classifier)

    def cost(self) -> dict[str, Cost]:
        """Passes a photo by method label."""
        return {method.label: method.cost(self.classifier) for method in self.methods}

    def run(self, found: Complete) -> Generator[list[Written] | Failure, None, None]:
        """Yield the results of each photo, in the order given, once they are on disk; a Failure where a photo has none.

        A failure is the last that is yielded, unless the run keeps going.
        """
        todo = [source for source in self.sources if not all(found.has(source, method) for method in self.methods)]
        explained = explain_photos(
            todo, self.classifier, self.methods, self.targets, self.settings, lambda source, method: not found.has(source, method)
        )
        waiting: deque[Future[list[Written] | Failure]] = deque()
        result: Explained | Failure | None = None
        with ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="write") as pool:
            for source in self.sources:
                complete = all(found.has(source, method) for method in self.methods)
                result = None if complete else next(explained)
                if isinstance(result, Failure) and not self.keep_going:
                    break
                waiting.append(pool.submit(self.write, result, found) if result else pool.submit(self.keep, source, found))
                if len(waiting) > WRITES_WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if isinstance(result, Failure) and not self.keep_going:
                yield result

    def keep(self, source: Source, found: Complete) -> list[Written]:
        return [self.kept(source, method, record) for method in self.methods for record in found.records[source, method.label]]

    def kept(self, source: Source, method: Method, record: Record) -> Written:
        stem = self.output.folder / self.output.stem(source, method, self.targets, record.target)
        release(stem)
        return Written(source, record, stem, kept=True)

    def write(self, result: Explained | Failure, found: Complete) -> list[Written] | Failure:
        if isinstance(result, Failure):
            return result
        source, written = result.loaded.source, []
        for method in self.methods:
            if method.label not in result.made:
                written += [self.kept(source, method, record) for record in found.records[source, method.label]]
                continue
            for attribution in result.made[method.label]:
                stem = self.output.stem(source, method, self.targets, attribution.record.target)
                with claimed(self.output.folder / stem) as begun:
                    self.require_free(source, method, self.output.folder / stem, begun=begun)
                    self.save(attribution, stem)
                written.append(Written(source, attribution.record, self.output.folder / stem))
        return written

    def require_free(self, source: Source, method: Method, stem: Path, *, begun: bool) -> None:
        """Raise UsageError where another run has meanwhile put a result of its own in this place."""
        if self.overwrite:
            return
        refuse_foreign(stem, begun=begun)
        sidecar = Path(f"{stem}.json")
        if is_there(sidecar):
            refuse_other(sidecar, source, method, self.targets, self.classifier, self.settings)

    def save(self, attribution: Attribution, stem: str) -> None:
        styled = replace(attribution, record=replace(attribution.record, look=self.style.as_dict()))
        drawing = None if attribution.status == "non-finite" else self.style.draw(styled)
        styled.save(self.output.folder, stem, drawing=drawing)
