"""One column of scores: the maps of one method under one metric, from what is wanted to finished rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xaicli.metric import CONSTANT, EMPTY_TRUTH, NO_TRUTH, NON_FINITE, UNDEFINED, Metric, Scores
from xaicli.network.classifier import Classifier
from xaicli.rows import OK, Curve, Recipe, Row
from xaicli.scoring.case import Case, Explainer, Pictures
from xaicli.scoring.copies import Outcomes
from xaicli.scoring.scene import Circumstances, Explanation, Scene
from xaicli.stamps import subject_stamp

Place = tuple[int, int]
"""A photo of the scene, and which of its targets."""


@dataclass(frozen=True, eq=False)
class Column:
    """The rows of one method under one metric: the status of each place that is wanted, known before anything is computed."""

    classifier: Classifier
    explanation: Explanation
    metric: Metric
    recipe: Recipe
    statuses: Mapping[Place, str]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Those that can be scored."""
        return tuple(place for place, status in self.statuses.items() if status == OK)


def column_of(explanation: Explanation, metric: Metric, classifier: Classifier, scene: Scene, run: Circumstances) -> Column:
    recipe = explanation.recipe(metric, run)
    statuses: dict[Place, str] = {}
    for photo in range(len(scene.images)):
        for target, name in enumerate(explanation.maps.targets.names(photo)):
            if (recipe.definition, subject_of(scene, photo, classifier, name), run.seed) not in run.done:
                statuses[photo, target] = status_of(explanation, metric, scene, photo, target)
    return Column(classifier, explanation, metric, recipe, statuses)


def subject_of(scene: Scene, photo: int, classifier: Classifier, target: str) -> str:
    return subject_stamp(scene.contents[photo], scene.frames[photo], classifier.fingerprint, target)


def status_of(explanation: Explanation, metric: Metric, scene: Scene, photo: int, target: int) -> str:
    """Why a map cannot be scored, or `ok`."""
    values = explanation.maps.values[photo, target]
    if not bool(values.isfinite().all()):
        return NON_FINITE
    if bool(values.amin() == values.amax()):
        return CONSTANT
    if not metric.needs_truth:
        return OK
    mask = truth_of(explanation, scene, photo, target)
    if mask is None:
        return NO_TRUTH
    return OK if mask.any() else EMPTY_TRUTH


def truth_of(explanation: Explanation, scene: Scene, photo: int, target: int) -> np.ndarray | None:
    """Where a photo's target is marked, bool (H, W); None where it is not."""
    known = None if scene.truth is None else scene.truth[photo]
    return None if known is None else known.mask(int(explanation.maps.targets.classes[photo, target]))


def case_of(column: Column, pictures: Pictures, scene: Scene, run: Circumstances, made: dict[object, Case]) -> Case:
    """The case of a column's places; metrics that read the same things of the same maps share it, and what it works out."""
    metric, explanation = column.metric, column.explanation
    key = (id(explanation), column.places, bool(metric.needs), metric.needs_truth, metric.needs_explain)
    if key not in made:
        made[key] = new_case(column, pictures, scene, run)
    return made[key]


def new_case(column: Column, pictures: Pictures, scene: Scene, run: Circumstances) -> Case:
    metric, explanation, places = column.metric, column.explanation, column.places
    targets, device = explanation.maps.targets, pictures.inputs.device
    photos, wanted = torch.tensor(places).unbind(dim=1)
    classes = tuple(targets.classes.cpu()[photos, wanted].tolist())
    against = tuple(targets.against.cpu()[photos, wanted].tolist())
    clean = None
    if metric.needs and pictures.logits is not None:
        clean = Outcomes.empty(len(places), device)
        for item, (photo, _) in enumerate(places):
            clean.put(item, pictures.logits[photo : photo + 1], classes[item], against[item])
    explainer = None
    if metric.needs_explain and explanation.explain is not None:
        seeds = scene.seeds(run.seed, explanation.name)
        explainer = Explainer(
            explanation.explain, tuple(seeds[photo] for photo, _ in places), explanation.stochastic, run.explain_batch
        )
    return Case(
        pictures=pictures,
        maps=explanation.maps.values.to(device)[photos, wanted].detach().float(),
        photos=tuple(photos.tolist()),
        classes=classes,
        against=against,
        sign=explanation.sign,
        label=explanation.label,
        clean_pass=clean,
        truth_masks=truth_masks(column, scene).to(device) if metric.needs_truth else None,
        explainer=explainer,
    )


def truth_masks(column: Column, scene: Scene) -> Tensor:
    masks = [truth_of(column.explanation, scene, *place) for place in column.places]
    return torch.from_numpy(np.stack([mask for mask in masks if mask is not None]))


def row_of(column: Column, place: Place, status: str, scores: Scores | None, scene: Scene, run: Circumstances) -> Row:
    """The finished row of one place."""
    photo, target = place
    explanation, classifier = column.explanation, column.classifier
    value: float | None = None
    readouts: dict[str, float] = {}
    curve = None
    if status == OK and scores is not None:
        item = column.places.index(place)
        value = float(scores.values[item])
        status = OK if math.isfinite(value) else UNDEFINED
        value = value if status == OK else None
        numbers = {name: float(column_of_numbers[item]) for name, column_of_numbers in scores.readouts.items()}
        readouts = {name: number for name, number in numbers.items() if math.isfinite(number)}
        if scores.curve is not None:
            curve = Curve(tuple(scores.curve[0].tolist()), tuple(scores.curve[1][item].tolist()))
    name = explanation.maps.targets.names(photo)[target]
    return Row(
        image=scene.images[photo],
        photo=scene.contents[photo],
        frame=scene.frames[photo],
        method=explanation.label,
        target=name,
        metric=column.metric.label,
        value=value,
        status=status,
        definition=column.recipe.definition,
        subject=subject_of(scene, photo, classifier, name),
        seed=run.seed,
        model=classifier.fingerprint,
        readouts=readouts,
        curve=curve,
        control=explanation.control,
        target_name=" - ".join(classifier.class_name(int(index)) for index in name.split("-")),
    )
