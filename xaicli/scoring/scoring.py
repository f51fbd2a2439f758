"""Scoring one photo: from its maps and the metrics to rows.

`xai score`, `xai explain --score`, `xai compare` and the gate share it. The copies of all metrics and methods run in one queue;
the clean photo and the baselines run once.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaicli.containment import contained
from xaicli.errors import RunError, UsageError
from xaicli.metric import CONSTANT, EMPTY_TRUTH, NO_TRUTH, NON_FINITE, UNDEFINED, Metric, Scores
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.passes.queue import clean_logits
from xaicli.rows import FITTED, OK, PARTNER, Curve, Row, partner_number
from xaicli.scoring.case import Case
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.measuring import measure
from xaicli.scoring.photo import ScoredPhoto

__all__ = ["Explainer", "Explanation", "ScoredPhoto", "refuse_unfit", "score_photo"]


@dataclass(frozen=True, eq=False)
class Column:
    """The maps of one explanation under one metric, with the status of each, which is known before anything is computed."""

    explanation: Explanation
    metric: Metric
    definition: str
    statuses: tuple[str, ...]
    fitted: bool = False

    @classmethod
    def of(cls, photo: ScoredPhoto, explanation: Explanation, metric: Metric) -> Column:
        found = tuple(status_of(photo, explanation, metric, target) for target in range(len(explanation.targets)))
        recipe = explanation.explainer.recipe(metric)
        return cls(explanation, metric, recipe.definition, found, recipe.fitted)

    @property
    def items(self) -> list[int]:
        """The indices of maps that can be scored."""
        return [at for at, status in enumerate(self.statuses) if status == OK]


def score_photo(
    photo: ScoredPhoto,
    explanations: Sequence[Explanation],
    metrics: Sequence[Metric],
    *,
    wanted: Container[str] | None = None,
) -> list[Row]:
    """Score every map of a photo with every metric that can read it, in the order method, target, metric.

    wanted: definitions of the rows to make, None for all. A row is one (method, target, metric). A map that is constant or not
    finite, or lacks the ground truth that a metric needs, gets a status and no value. Raises RunError if the model gives NaN for
    the clean photo, or if a metric fails.
    """
    with contained(f"{photo.classifier.name} on {photo.image}, when maps were scored,"):
        return rows_of(photo, explanations, metrics, wanted)


def rows_of(
    photo: ScoredPhoto,
    explanations: Sequence[Explanation],
    metrics: Sequence[Metric],
    wanted: Container[str] | None,
) -> list[Row]:
    columns = [
        column
        for explanation in explanations
        for metric in metrics
        if explanation.explainer.suits(metric)
        for column in [Column.of(photo, explanation, metric)]
        if wanted is None or column.definition in wanted
    ]
    working = [column for column in columns if column.items]
    logits = clean_pass(photo, working)
    cases: dict[object, Case] = {}
    work = [(column.metric, case_of(photo, column, logits, cases)) for column in working]
    scores = dict(zip(map(id, working), measure(photo, work), strict=True))
    return [
        row_of(photo, column, target, scores.get(id(column)))
        for explanation in explanations
        for target in range(len(explanation.targets))
        for column in columns
        if column.explanation is explanation
    ]


def status_of(photo: ScoredPhoto, explanation: Explanation, metric: Metric, target: int) -> str:
    """Why a map cannot be scored, or `ok`."""
    values = explanation.values[target]
    if not bool(values.isfinite().all()):
        return NON_FINITE
    if bool(values.amin() == values.amax()):
        return CONSTANT
    if not metric.needs_truth:
        return OK
    mask = truth_of(photo, explanation, target)
    if mask is None:
        return NO_TRUTH
    return OK if mask.any() else EMPTY_TRUTH


def truth_of(photo: ScoredPhoto, explanation: Explanation, target: int) -> np.ndarray | None:
    """The ground truth of a target, bool (H, W); None if it is not marked. A box without other ground truth is its own."""
    number, classifier = explanation.targets[target].index, photo.classifier
    if photo.truth is not None:
        return photo.truth.mask(classifier.class_of(number))
    return None if classifier.boxes is None else classifier.boxes.mask(number, photo.size).cpu().numpy()


def clean_pass(photo: ScoredPhoto, columns: Sequence[Column]) -> Tensor | None:
    """The logits (1, C) of the photo, if a metric needs the model."""
    if not any(column.metric.needs for column in columns):
        return None
    classifier = photo.classifier
    logits = clean_logits(classifier, photo.input[None])
    if not bool(logits.isfinite().all()):
        raise RunError(
            f"{classifier.name} gave NaN or infinite logits for {photo.image}",
            hint="Check weights and preprocessing (xai doctor --model SPEC).",
        )
    return logits


def case_of(photo: ScoredPhoto, column: Column, logits: Tensor | None, made: dict[object, Case]) -> Case:
    """The case of a column; metrics that read the same things of the same maps share it and its cached results.

    A metric that is not built in has a case of its own, since it may write to the maps that it reads.
    """
    metric, explanation, items = column.metric, column.explanation, column.items
    own = "" if type(metric).__module__.startswith("xaicli.metrics.") else metric.label
    key = (id(explanation), tuple(items), bool(metric.needs), metric.needs_truth, metric.needs_explain, own)
    if key not in made:
        device, targets = photo.input.device, [explanation.targets[item] for item in items]
        masks = [truth_of(photo, explanation, item) for item in items] if metric.needs_truth else []
        made[key] = Case(
            scored=photo,
            explainer=explanation.explainer,
            maps=explanation.values[items].to(device).float(),
            classes=tuple(target.index for target in targets),
            against=tuple(target.against for target in targets),
            clean_logits=logits if metric.needs else None,
            truth_masks=torch.from_numpy(np.stack(masks)).to(device) if metric.needs_truth else None,  # type: ignore[arg-type]
            explains=metric.needs_explain,
        )
    return made[key]


def row_of(photo: ScoredPhoto, column: Column, target: int, scores: Scores | None) -> Row:
    """The finished row of one map; scores: those of the column's items."""
    explanation, status = column.explanation, column.statuses[target]
    explainer, name = explanation.explainer, str(explanation.targets[target])
    value: float | None = None
    readouts: dict[str, float] = {}
    curve = None
    if status == OK and scores is not None:
        item = column.items.index(target)
        value = float(scores.values[item])
        status = OK if math.isfinite(value) else UNDEFINED
        value = value if status == OK else None
        numbers = {name: float(read[item]) for name, read in scores.readouts.items()}
        readouts = {name: number for name, number in numbers.items() if math.isfinite(number)}
        if scores.curve is not None:
            curve = Curve(tuple(scores.curve[0].tolist()), tuple(scores.curve[1][item].tolist()))
    if column.fitted:
        readouts[FITTED] = 1.0
    if explanation.partner:
        readouts[PARTNER] = float(partner_number(explanation.partner))
    rule = explanation.targets[target]
    return Row(
        image=photo.image,
        photo=photo.content,
        frame=photo.frame,
        method=explainer.label,
        target=name,
        metric=column.metric.label,
        value=value,
        status=status,
        definition=column.definition,
        subject=photo.subject(name, explanation.partner),
        seed=photo.seed,
        model=photo.classifier.fingerprint,
        readouts=readouts,
        curve=curve,
        control=explainer.control,
        target_name=rule.shown(photo.classifier.class_name) + rule.place,
    )


def refuse_unfit(metrics: Iterable[Metric], explainer: Explainer, classifier: Classifier, *, truth: bool) -> None:
    """Raise UsageError, before any work, if a metric cannot score the maps of a method; truth: whether there is ground truth."""
    label, sign = explainer.label, explainer.sign
    for metric in metrics:
        if sign not in metric.signs:
            accepted = " or ".join(sorted(kind.value for kind in metric.signs))
            raise UsageError(
                f"{metric.label} needs {accepted} maps, but those of {label} are {sign.value}",
                hint="Leave one of them out, or see the method's parameters (xai describe), such as relu.",
            )
        if metric.needs_explain and explainer.attribute is None:
            raise UsageError(
                f"{metric.label} must explain again, but the maps of {label} came from files",
                hint="Give --method instead of --maps.",
            )
        if metric.needs_truth and not truth and classifier.decoding is None:
            hint = "Give --truth DIR: masks, COCO JSON, YOLO polygons or boxes."
            raise UsageError(f"{metric.label} needs ground truth", hint=hint)
        if metric.needs_probability and classifier.outputs is Outputs.VALUES:
            raise UsageError(
                f"{metric.label} needs probabilities, but the outputs of {classifier.name} are values",
                hint="Leave it out; deletion and insertion follow the value itself.",
            )
        if metric.needs_class_map and classifier.pixels is None:
            raise UsageError(
                f"{metric.label} needs a class map, and {classifier.name} gives one number a class",
                hint="Give it without output=iou, or choose a segmentation model.",
            )
        if missing := metric.needs & ~classifier.provides:
            found = f"{metric.label} needs {missing.words()}, but {classifier.name} has none"
            raise UsageError(found, hint="See xai list metrics.")
        metric.require(classifier)
