"""The maps of many photos by many methods, a batch of photos at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field

import torch

from xaicli.attribution import Attribution
from xaicli.errors import InputError, RunError, UsageError, XaiError
from xaicli.images.source import Source
from xaicli.method import Maps, Method, Needs
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.passes.memory import Chunk, in_chunks
from xaicli.passes.queue import clean_logits
from xaicli.passes.seeds import photo_seed
from xaicli.record import BASELINE_VALUE
from xaicli.runs.binding import bind
from xaicli.runs.photo_room import PhotoRoom
from xaicli.runs.photos import Failure, LoadedPhoto, load_ahead
from xaicli.runs.records import attributions_of
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.targets import Targets

LARGEST_BATCH = 16
PASSES_A_BATCH = 4096
BATCH_SHARE = 1 / 4
"""The share of the memory for photos that a batch may take before it is full."""


@dataclass(frozen=True)
class Explained:
    """One photo and its attributions by method label, one for each target."""

    loaded: LoadedPhoto
    made: dict[str, list[Attribution]] = field(default_factory=dict)


Wanted = Callable[[Source, Method], bool]


def explain_photos(
    sources: Iterable[Source],
    classifier: Classifier,
    methods: Sequence[Method],
    targets: TargetChoice,
    settings: Settings,
    wanted: Wanted = lambda source, method: True,
    room: PhotoRoom | None = None,
) -> Iterator[Explained | Failure]:
    """Explain photos in order. A photo that fails is yielded as a Failure, in its place in the order; the caller decides whether
    to stop.

    wanted: whether a method's maps of a photo should be made; room: the memory for all photos in work.
    """
    size = photos_at_once(methods, classifier, settings.batch_size)
    if isinstance(sources, Sized):
        forward = sum(method.cost(classifier).forward for method in methods if not method.needs & Needs.GRADIENTS)
        classifier = dataclasses.replace(classifier, expected_passes=forward * len(sources))
    room = room or PhotoRoom()
    batch: list[LoadedPhoto] = []
    look = settings.background, settings.decode_timeout
    for item in load_ahead(sources, classifier.view, *look, 2 * size, room, settings.bands):
        if isinstance(item, LoadedPhoto):
            batch.append(item)
        full = len(batch) == size or sum(loaded.bytes for loaded in batch) >= room.limit * BATCH_SHARE
        if batch and (isinstance(item, Failure) or full):
            yield from explain_batch(batch, classifier, methods, targets, settings, wanted)
            batch = []
        if isinstance(item, Failure):
            yield item
        # Freed at once: the next photo may wait for its memory.
        del item
    if batch:
        yield from explain_batch(batch, classifier, methods, targets, settings, wanted)


def photos_at_once(methods: Sequence[Method], classifier: Classifier, batch_size: int | None) -> int:
    """How many photos are explained together: at most the inputs of a pass, and fewer if a method runs many passes per photo, so
    that little is lost when a run is stopped."""
    passes = max((method.cost(classifier).forward for method in methods), default=1)
    return max(1, min(batch_size or LARGEST_BATCH, int(PASSES_A_BATCH // max(passes, 1))))


def explain_batch(
    batch: list[LoadedPhoto],
    classifier: Classifier,
    methods: Sequence[Method],
    targets: TargetChoice,
    settings: Settings,
    wanted: Wanted,
) -> Iterator[Explained | Failure]:
    """Run all methods on one batch, each only on the photos whose map is missing; the batch is empty afterwards."""
    results = [Explained(loaded) for loaded in batch]
    failures: dict[int, XaiError] = {}
    for method in methods:
        missing = [row for row, loaded in enumerate(batch) if row not in failures and wanted(loaded.source, method)]
        classifier.engines_used.clear()
        made = maps_of_each([batch[row] for row in missing], classifier, method, targets, settings)
        for row, maps in zip(missing, made, strict=True):
            if isinstance(maps, XaiError):
                failures[row] = maps
            else:
                try:
                    results[row].made[method.label] = attributions_of(maps, batch[row], classifier, method, targets, settings)
                except RunError as error:
                    failures[row] = error.about(batch[row].source.path)
    batch.clear()
    for row in range(len(results)):
        # From here on only the caller holds each photo, and frees it before it asks for the next.
        yield outcome(results.pop(0), failures.get(row))


def outcome(result: Explained, error: XaiError | None) -> Explained | Failure:
    return result if error is None else Failure(result.loaded.source, error)


def maps_of_each(
    batch: list[LoadedPhoto], classifier: Classifier, method: Method, targets: TargetChoice, settings: Settings
) -> list[Maps | XaiError]:
    """The maps of each photo as a batch of one, or its error; a batch that fails is tried photo by photo."""
    if not batch:
        return []
    try:
        parts = attribute(batch, classifier, method, targets, settings)
    except (InputError, RunError) as error:
        # A target that one photo does not have is an error of that photo; any other wrong input is an error of the run.
        if isinstance(error, InputError) and not targets.bound:
            raise
        if len(batch) == 1:
            return [error.about(batch[0].source.path)]
        return [maps for loaded in batch for maps in maps_of_each([loaded], classifier, method, targets, settings)]
    made: list[Maps | XaiError] = []
    for part, photos in parts:
        finite = part.logits.isfinite().all(dim=1).tolist()
        made += [part.photo(row) if finite[row] else not_finite(classifier, loaded) for row, loaded in enumerate(photos)]
    return made


def attribute(
    batch: list[LoadedPhoto], classifier: Classifier, method: Method, targets: TargetChoice, settings: Settings
) -> list[tuple[Maps, list[LoadedPhoto]]]:
    """Maps of a batch, split into as few parts as memory allows."""

    def too_large(at: int) -> RunError:
        hint = "Give a smaller --resize and --crop, or --precision bf16."
        return RunError(f"{method.label} ran out of memory on {batch[at].source.path}", hint=hint)

    def work(start: int, stop: int) -> tuple[Maps, list[LoadedPhoto]]:
        part = batch[start:stop]
        return maps_of(part, classifier, method, targets, settings), part

    if targets.bound:
        return [work(at, at + 1) for at in range(len(batch))]
    chunk = Chunk(len(batch), classifier.device, too_large)
    return [made for _, made in in_chunks(work, len(batch), chunk)]


def maps_of(batch: list[LoadedPhoto], classifier: Classifier, method: Method, targets: TargetChoice, settings: Settings) -> Maps:
    """Maps of all photos of a batch together; of a single photo if its targets are fixed on its clean pass."""
    inputs = torch.stack([loaded.input for loaded in batch]).to(classifier.device)
    bound = None
    if targets.bound:
        (loaded,) = batch
        bound = bind(classifier, loaded, targets.rule_of(loaded.source), clean_pass_first=method.clean_pass_first)
        classifier, rules = bound.classifier, bound.targets
    else:
        rules = Targets(tuple(targets.rule_of(loaded.source) for loaded in batch), classifier.outputs)
    seeds = torch.tensor(
        [photo_seed(settings.seed, loaded.photo.content, loaded.photo.frame, method.name) for loaded in batch], dtype=torch.int64
    )
    # The run chooses the precision: a caller's autocast must not change the arithmetic of methods.
    with torch.autocast(classifier.device.type, enabled=False):
        maps = method.attribute(classifier, inputs, rules, seeds)
    if method.decision_only:
        refuse_other_targets(maps, classifier, method)
    marks = {} if bound is None else bound.marks
    if classifier.outputs is Outputs.VALUES:
        nothing = clean_logits(classifier, torch.zeros_like(inputs[:1]))
        marks[BASELINE_VALUE] = maps.targets.probability(nothing.expand(len(inputs), -1)).detach()
    return dataclasses.replace(maps, extras=maps.extras | marks)


def refuse_other_targets(maps: Maps, classifier: Classifier, method: Method) -> None:
    """Raise UsageError if a method that explains only the decision was asked for another target."""
    decisions = classifier.outputs.scores(maps.logits).argmax(dim=1, keepdim=True)
    other = (maps.targets.classes != decisions) | (maps.targets.against >= 0)
    for row, column in other.nonzero()[:1].tolist():
        target, decision = maps.targets.names(row)[column], classifier.class_name(int(decisions[row, 0]))
        raise UsageError(
            f"{method.name} explains the decision alone ({decision}), not target {target}: no class enters its map",
            hint="Leave --target out, or choose a method that is class specific (xai list methods).",
        )


def not_finite(classifier: Classifier, loaded: LoadedPhoto) -> RunError:
    return RunError(
        f"{classifier.name} gave NaN or infinite logits for {loaded.source.path}; nothing was written for it",
        hint="Check weights and preprocessing (xai doctor --model SPEC).",
    )
