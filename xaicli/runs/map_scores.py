"""Scores beside the maps of an output folder: `xai explain --score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from xaicli.attribution import Attribution
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.runs.binding import bind
from xaicli.runs.photos import LoadedPhoto
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import refuse_unfit, score_photo
from xaicli.suitability import require_scores
from xaicli.targets import TargetRule

MapScores = dict[tuple[str, str], dict[str, float | str]]
"""For each method label and target: the value of each metric, or the status that explains its absence."""


def explainers_of(
    methods: Sequence[Method], classifier: Classifier, targets: TargetChoice, settings: Settings
) -> dict[str, Explainer]:
    """Explainers by method label."""
    return {method.label: Explainer.of(method, classifier, targets.text, settings.precision) for method in methods}


def refuse_unscorable(metrics: Sequence[Metric], explainers: Mapping[str, Explainer], classifier: Classifier) -> None:
    """Raise UsageError before any work if a metric cannot score a method's maps."""
    for metric in metrics:
        require_scores(metric, classifier)
    for explainer in explainers.values():
        refuse_unfit(metrics, explainer, classifier, truth=False)


def scores_of_maps(
    loaded: LoadedPhoto,
    maps: Sequence[Attribution],
    metrics: Sequence[Metric],
    explainers: Mapping[str, Explainer],
    classifier: Classifier,
    targets: TargetChoice,
    seed: int,
) -> MapScores:
    """Scores of one photo's maps, whether just made or read from disk."""
    path, photo, inputs = loaded.source.path, loaded.photo, loaded.input.to(classifier.device)
    bound = bind(classifier, loaded, targets.rule_of(loaded.source)).classifier
    scored = ScoredPhoto(bound, path, photo.content, photo.frame, inputs, seed)
    explanations = []
    for label, explainer in explainers.items():
        own = [one for one in maps if one.record.method == label]
        if own:
            values = torch.stack([torch.from_numpy(one.values) for one in own])
            explanations.append(Explanation(explainer, values, tuple(TargetRule.of_name(one.record.target) for one in own)))
    found: MapScores = {}
    for row in score_photo(scored, explanations, metrics):
        found.setdefault((row.method, row.target), {})[row.metric] = row.status if row.value is None else row.value
    return found
