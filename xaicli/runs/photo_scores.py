"""Explaining and scoring the photos of a scoring run, one after another, and keeping what is new in a store."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import XaiError
from xaicli.images.source import Source
from xaicli.method import Method
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Row
from xaicli.runs.binding import bind
from xaicli.runs.controls import name_of, swapped
from xaicli.runs.given_maps import GivenMaps
from xaicli.runs.map_cache import Lending, MapCache, Watch
from xaicli.runs.method_differences import require_same
from xaicli.runs.photos import Failure, LoadedPhoto
from xaicli.runs.score_run import ScoreRun
from xaicli.scoring.explanation import Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import score_photo
from xaicli.sign import Sign


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


def score_missing(run: ScoreRun, store: Store) -> Generator[list[Row] | Failure, None, None]:
    """Score what is missing in the store and write it, one transaction per photo; yields the new rows of each photo, or a
    Failure.

    One photo at a time is enough: the copies of its methods, metrics and steps fill the queue's batches, and a run that is
    killed loses only the current photo. A Failure is the last item unless the run keeps going. Raises InputError if the store
    cannot be written to.
    """
    todo = run.incomplete(store, run.sources)

    def gaps(source: Source, partner: str | None = None) -> NDArray[np.bool_]:
        # Another process may have scored a photo by now, or it has the same content as a photo that was just scored.
        return run.missing(store, [source], partner)[0]

    for result in score_photos(run, todo, gaps):
        if isinstance(result, NewScores):
            keep(run, result, store)
            yield result.rows
        else:
            yield result
            if not run.keep_going:
                return


def score_photos(
    run: ScoreRun, todo: Sequence[Source], gaps: Gaps, watch: Watch = lambda source: None
) -> Generator[NewScores | Failure, None, None]:
    """Explain and score photos in order, and write nothing: in this process, in a shard, or in a worker of a cluster.

    gaps: which rows of a photo are missing, asked right before it is scored; photos without gaps are passed over. watch:
    told of each photo that is about to be worked on, its own or a partner; it may raise XaiError.
    """
    makers: list[Method | GivenMaps] = [*run.all_methods, *run.given_maps]
    cache = MapCache(run.classifier, makers, run.targets, run.settings, run.ring, watch, lent=run.others.keys())
    coming, lending = set(todo), Lending(cache, todo)

    def waiting(source: Source) -> bool:
        return source in coming or source in lending.borrowers

    for place, source in enumerate(todo):
        missing = gaps(source)
        if missing.any():
            yield scores_of(run, source, missing, cache, gaps)
        done = {source, lending.lender.get(source, source)}
        coming.discard(source)
        lending.end(source)
        soon = {one for following in todo[place + 1 : place + 2] for one in (following, lending.lender.get(following, following))}
        cache.put_away(waiting, done, soon)


def keep(run: ScoreRun, scores: NewScores, store: Store, device: str = "") -> None:
    """Write the scores of one photo, in one transaction; device: where they were made, by default this run's."""
    engines = dict(name.split(" ", 1) for name in sorted(run.classifier.engines_used))
    record = replace(run.record, device=device or run.record.device, versions={**run.record.versions, **engines})
    store.add(scores.rows, run.recipes, maps=scores.maps, run=record)


def scores_of(run: ScoreRun, source: Source, missing: NDArray[np.bool_], cache: MapCache, gaps: Gaps) -> NewScores | Failure:
    """Explain and score a photo; missing: (recipes,), which of its rows to make."""
    wanted = {recipe.definition: recipe.method for recipe, gap in zip(run.recipes, missing, strict=True) if gap}
    bases = {base for base, control in run.others.items() if control.label in wanted.values()}
    own = set(wanted.values()) - {control.label for control in run.others.values()}
    try:
        if own:
            # Before any map of another photo: this one may be of no use.
            cache.fetch(source, own | bases)
        partner, bases = lender(run, source, bases, cache, gaps)
        alone = bool(bases) and partner is None
        labels = own if partner is None else own | bases
        if not labels:
            return NewScores(source, [], [], alone)
        maps = cache.fetch(source, labels)
        explanations = [Explanation.of(one, maps[one.label]) for one in run.own if one.label in labels]
        if partner is not None:
            explanations += lent_maps(run, partner, explanations, bases, cache)
        cache.watch(source)
        loaded = cache.load(source)
        photo = scored(run, loaded)
        rows = score_photo(photo, explanations, run.metrics, wanted=wanted)
        require_same_methods(run, labels)
    except XaiError as error:
        return Failure(source, error)
    return NewScores(source, rows, kept_maps(run, photo, loaded, explanations), alone)


def require_same_methods(run: ScoreRun, labels: Collection[str]) -> None:
    """Raise RunError if a method meanwhile makes other maps than its recipes say, as after another training."""
    begun = {one.label: one.content for one in run.own}
    for method in run.all_methods:
        if method.label in labels:
            require_same(method, run.classifier, begun[method.label], "when the run began")


def lender(run: ScoreRun, source: Source, bases: set[str], cache: MapCache, gaps: Gaps) -> tuple[Source | None, set[str]]:
    """The next photo by content whose maps can be made, which are then in the cache, and the methods whose control `other`
    has no row with it. Order and shard do not matter.

    A photo that cannot be used is skipped. The store may hold rows with the one after it, for which no map is made again.
    """
    for candidate in run.ring.after(source) if bases else ():
        if candidate in cache.faults:
            continue
        content = run.contents[candidate]
        if content != run.ring.partner(source):
            lacking = {recipe.method for recipe, gap in zip(run.recipes, gaps(source, content), strict=True) if gap}
            bases = {base for base in bases if run.others[base].label in lacking}
        if not bases or cache.lends(candidate, bases):
            return candidate if bases else None, bases
    return None, bases


def lent_maps(
    run: ScoreRun, partner: Source, own: Sequence[Explanation], bases: Collection[str], cache: MapCache
) -> list[Explanation]:
    """The controls `other` of a photo with the maps of its partner."""
    lent, name = cache.maps[partner], name_of(run.contents[partner], partner.frame)
    return [swapped(one, lent[one.explainer.label].values[0].detach(), name) for one in own if one.explainer.label in bases]


def scored(run: ScoreRun, loaded: LoadedPhoto) -> ScoredPhoto:
    path, photo, view = loaded.source.path, loaded.photo, run.classifier.view
    truth = run.truth.of(path, photo.size, view) if run.truth else None
    inputs = loaded.input.to(run.classifier.device)
    classifier = bind(run.classifier, loaded, run.targets.rule_of(loaded.source)).classifier
    return ScoredPhoto(classifier, path, photo.content, photo.frame, inputs, run.settings.seed, truth)


def kept_maps(run: ScoreRun, photo: ScoredPhoto, loaded: LoadedPhoto, explanations: Sequence[Explanation]) -> list[KeptMap]:
    """A photo's maps in the form in which a report draws them; those of controls are not kept."""
    width, height = loaded.photo.size
    left, top, right, bottom = run.classifier.view.geometry(width, height).extent
    return [
        KeptMap(
            subject=photo.subject(str(target)),
            method_definition=explanation.explainer.recipe(run.metrics[0]).method_definition,
            method=explanation.explainer.label,
            seed=run.settings.seed,
            values=values.cpu().numpy(),
            box=(left / width, top / height, right / width, bottom / height),
            signed=explanation.explainer.sign is Sign.SIGNED,
            region=None if (region := photo.classifier.region_of(target.index)) is None else region.cpu().numpy(),
        )
        for explanation in explanations
        if not explanation.explainer.control
        for target, values in zip(explanation.targets, explanation.values, strict=True)
    ]
