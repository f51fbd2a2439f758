"""Scores of a store, made again: the map of each and what its metric says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xaicli.errors import XaiError
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.registry import is_own_file, make_method, make_metric
from xaicli.results.store import Store
from xaicli.rows import Recipe, Row
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.photos import Failure
from xaicli.runs.remade import CannotBeMade, ModelsAtHand, PhotosAtHand, Remade, Result
from xaicli.runs.remade_maps import OF_FILE
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice, choose_targets
from xaicli.targets import COMPARED, DECISION, TargetRule

TOLERANCE = 1e-3
"""How far a score may differ, as a share of its metric's range, or of itself where that has no end."""


@dataclass(frozen=True, eq=False)
class KeptScore:
    """A row of a store, how it was made, and the model's specification. planted: it is of `xai trust`, which alters photos and
    networks before it scores."""

    row: Row
    recipe: Recipe
    model: str
    planted: bool = False

    @property
    def precision(self) -> str:
        return self.recipe.precision

    def becomes(self, result: Result, why: str = "", off: float = 0.0) -> Remade:
        row = self.row
        return Remade(f"{row.definition}/{row.subject}", row.image, row.method, row.target, row.metric, result, why, off)


def remake_scores(kept: Sequence[KeptScore], photos: PhotosAtHand, models: ModelsAtHand) -> Iterator[Remade]:
    """Make scores again, those of one map together."""
    groups: dict[tuple[object, ...], list[KeptScore]] = {}
    for one in kept:
        row, recipe = one.row, one.recipe
        key = row.photo, row.frame, row.model, row.method, recipe.target_rule, recipe.precision, row.seed
        groups.setdefault(key, []).append(one)
    for members in groups.values():
        try:
            yield from remake_group(members, photos, models)
        except CannotBeMade as error:
            yield from (one.becomes("cannot be made", str(error)) for one in members)
        except XaiError as error:
            yield from (one.becomes("cannot be made", error.found) for one in members)


def remake_group(members: Sequence[KeptScore], photos: PhotosAtHand, models: ModelsAtHand) -> list[Remade]:
    """Make the scores of one map again; raises CannotBeMade or XaiError where that is impossible for all of them."""
    row, recipe = members[0].row, members[0].recipe
    refuse_unmakeable(members, trust=models.trust)
    source = photos.source(row.image, row.photo, row.frame)
    classifier = models.classifier(members[0].model, row.model, recipe.precision)
    run = ScoreRun(
        [source],
        classifier,
        [make_method(row.method)],
        [make_metric(label) for label in dict.fromkeys(one.row.metric for one in members)],
        targets_of(recipe, row, source, classifier),
        Settings(seed=row.seed, precision=recipe.precision),
        controls=(),
    )
    run.check()
    with Store.in_memory() as store:
        made: list[Row] = []
        for result in score_missing(run, store):
            if isinstance(result, Failure):
                raise result.error
            made += result
    return [outcome_of(one, made) for one in members]


def refuse_unmakeable(members: Sequence[KeptScore], *, trust: bool) -> None:
    for one in members:
        if one.planted:
            raise CannotBeMade("xai trust altered its photo and its network; the same xai trust command measures it again")
        for label in (one.row.method, one.row.metric):
            if is_own_file(label) and not trust:
                raise CannotBeMade(f"the store would run the code in {label}; trust it: --trust")
        if one.recipe.has_partner:
            raise CannotBeMade("it is a control, the map of another photo")
        if make_metric(one.row.metric).needs_truth:
            raise CannotBeMade(f"{one.row.metric} needs ground truth, which a store does not hold")


def targets_of(recipe: Recipe, row: Row, source: Source, classifier: Classifier) -> TargetChoice:
    if recipe.target_rule.startswith(COMPARED):
        raise CannotBeMade(f"its target {recipe.target_rule} is another photo, which a store does not hold")
    if recipe.target_rule == OF_FILE:
        return TargetChoice(OF_FILE, DECISION, {source.path: TargetRule.of_name(row.target)}, "the store")
    return choose_targets(recipe.target_rule, classifier, [source])


def outcome_of(kept: KeptScore, made: Sequence[Row]) -> Remade:
    """What became of one score."""
    row = kept.row
    found = [one for one in made if (one.metric, one.target) == (row.metric, row.target)]
    if not found:
        now = next((one.target for one in made), "none")
        return kept.becomes("differs", f"target {row.target} in the store, {now} now")
    [new] = found
    if new.definition != row.definition:
        raise CannotBeMade(f"{row.method} or {row.metric} is of another version here, or of another checkpoint")
    if row.value is None or new.value is None:
        same = (row.status, row.value) == (new.status, new.value)
        return (
            kept.becomes("same bytes") if same else kept.becomes("differs", f"{in_words(row)} in the store, {in_words(new)} now")
        )
    if row.value == new.value:
        return kept.becomes("same bytes")
    quantity = kept.recipe.quantity
    reach = quantity.high - quantity.low
    allowed = TOLERANCE * (reach if math.isfinite(reach) else max(abs(row.value), 1e-12))
    off = abs(new.value - row.value)
    if off <= allowed:
        return kept.becomes("same within tolerance", f"off by {off:.1e}", off)
    return kept.becomes("differs", f"{row.value:.6g} in the store, {new.value:.6g} now")


def in_words(row: Row) -> str:
    return row.status if row.value is None else f"{row.value:.6g}"
