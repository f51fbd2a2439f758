"""Scoring maps: what `xai score`, `xai explain --score`, `xai compare` and the gate share.

Photos are decoded and maps are made elsewhere; here maps of several methods meet several metrics. The copies that all of them ask
the model about run in one queue; a photo's clean pass and its baselines are passed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from xaicli.containment import contained
from xaicli.errors import RunError, UsageError
from xaicli.metric import Metric
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.folding import folded
from xaicli.passes.queue import clean_logits
from xaicli.rows import Recipe, Row
from xaicli.scoring.case import Case, Pictures
from xaicli.scoring.columns import Column, case_of, column_of, row_of
from xaicli.scoring.measuring import measure
from xaicli.scoring.scene import Circumstances, Explanation, Scene
from xaicli.sign import Sign

__all__ = ["Circumstances", "Explanation", "Scene", "Scored", "refuse_unfit", "score_maps"]

SEEDS_OF_SCORES = "scores"
"""The name under which the seeds of scores are drawn: one a photo for all methods and metrics, so that their scores are
paired."""

WORTH_FOLDING = 64
"""Passes: fewer are done before a twin of the network is made."""


@dataclass(frozen=True)
class Scored:
    """Rows in the order photo, method, target, metric, and the recipes that their definitions stand for."""

    rows: tuple[Row, ...]
    recipes: tuple[Recipe, ...]


def score_maps(
    classifier: Classifier,
    scene: Scene,
    explanations: Sequence[Explanation],
    metrics: Sequence[Metric],
    run: Circumstances = Circumstances(),
) -> Scored:
    """Score every map with every metric.

    A row is one (photo, method, target, metric): a constant or non-finite map, and a photo without the ground truth that a metric
    asks for, keep a status and get no value. A control has no row under a metric that cannot read it: one that must explain
    again, or that refuses its sign. Raises RunError where the model gives NaN for a clean photo, or where a metric fails.
    """
    for own in explanations:
        if not own.control:
            truth, explains = scene.truth is not None, own.explain is not None
            refuse_unfit(
                metrics,
                label=own.label,
                sign=own.sign,
                explains=explains,
                provides=classifier.provides,
                model=classifier.name,
                truth=truth,
            )
    whose = f"{classifier.name} on {scene.images[0] if len(scene.images) == 1 else f'a batch of {len(scene.images)} photos'}"
    with contained(f"{whose}, when maps were scored,"):
        return scored(classifier, scene, explanations, metrics, run)


def scored(
    classifier: Classifier, scene: Scene, explanations: Sequence[Explanation], metrics: Sequence[Metric], run: Circumstances
) -> Scored:
    columns = [
        column_of(explanation, metric, classifier, scene, run)
        for explanation in explanations
        for metric in metrics
        if not explanation.control or readable(explanation, metric)
    ]
    working = [column for column in columns if column.places]
    pictures, passer = pictures_of(classifier, scene, working, run)
    cases: dict[object, Case] = {}
    work = [(column.metric, case_of(column, pictures, scene, run, cases)) for column in working]
    scores = dict(zip(map(id, working), measure(pictures, work, run.batch_size, passer), strict=True))
    rows: dict[tuple[int, int, int, int], Row] = {}
    for number, column in enumerate(columns):
        method = explanations.index(column.explanation)
        for (photo, target), status in column.statuses.items():
            rows[photo, method, target, number] = row_of(column, (photo, target), status, scores.get(id(column)), scene, run)
    return Scored(tuple(rows[key] for key in sorted(rows)), tuple(column.recipe for column in columns))


def readable(explanation: Explanation, metric: Metric) -> bool:
    return explanation.sign in metric.signs and not (metric.needs_explain and explanation.explain is None)


def pictures_of(
    classifier: Classifier, scene: Scene, columns: Sequence[Column], run: Circumstances
) -> tuple[Pictures, Classifier]:
    """The photos, with the logits of their clean passes where a metric needs the model, and what passes their copies."""
    bare = Pictures(classifier, scene.inputs, scene.seeds(run.seed, SEEDS_OF_SCORES))
    if not any(column.metric.needs for column in columns):
        return bare, classifier
    passes = sum(len(column.places) * column.metric.passes(bare.size) for column in columns)
    if passes >= WORTH_FOLDING:
        # Scores are exact, whatever precision explanations may use.
        first, passer = folded(classifier.with_masked_dtype(torch.float32), scene.inputs[:1])
        logits = torch.cat([first, clean_logits(classifier, scene.inputs[1:])])
    else:
        logits, passer = clean_logits(classifier, scene.inputs), classifier
    finite = logits.isfinite().all(dim=1).tolist()
    if not all(finite):
        raise RunError(
            f"{classifier.name} gave NaN or infinite logits for {scene.images[finite.index(False)]}",
            hint="Check weights and preprocessing (xai doctor --model SPEC).",
        )
    return Pictures(classifier, scene.inputs, bare.seeds, logits), passer


def refuse_unfit(
    metrics: Iterable[Metric],
    *,
    label: str,
    sign: Sign,
    explains: bool,
    provides: Needs,
    model: str,
    truth: bool,
) -> None:
    """Raise UsageError, before any work, where a metric cannot score a method's maps.

    label, sign: of the method; explains: whether it can explain again (maps from files cannot); provides: what the model can do;
    truth: whether ground truth was given.
    """
    for metric in metrics:
        if sign not in metric.signs:
            accepted = " or ".join(sorted(kind.value for kind in metric.signs))
            raise UsageError(
                f"{metric.label} needs {accepted} maps, and those of {label} are {sign.value}",
                hint=f"Leave one of them out, or see xai describe {label.partition('@')[0]} for a parameter such as relu.",
            )
        if metric.needs_explain and not explains:
            raise UsageError(
                f"{metric.label} must explain again, and the maps of {label} came from files",
                hint="Give --method instead of --maps.",
            )
        if metric.needs_truth and not truth:
            hint = "Give --truth DIR: masks, COCO JSON, YOLO polygons or boxes."
            raise UsageError(f"{metric.label} needs ground truth", hint=hint)
        if missing := metric.needs & ~provides:
            raise UsageError(f"{metric.label} needs {missing.words()}, and {model} has none", hint="See xai list metrics.")
