"""Scores beside the maps of an output folder: `xai explain --score`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from xaicli.attribution import Record, load_array
from xaicli.files import write_atomic
from xaicli.method import Maps, Method
from xaicli.metric import Metric
from xaicli.runs.folder import FolderRun, Written
from xaicli.runs.photos import Failure, load
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import refuse_unfit, score_photo
from xaicli.targets import TargetRule, Targets


def check(run: FolderRun, metrics: Sequence[Metric]) -> None:
    """Raise UsageError before any work where a metric cannot score a method's maps."""
    for method in run.methods:
        refuse_unfit(metrics, explainer_of(run, method), run.classifier, truth=False)


def explainer_of(run: FolderRun, method: Method) -> Explainer:
    return Explainer.of(method, run.classifier, run.targets.text, run.settings.precision)


def score_written(run: FolderRun, written: Sequence[Written], metrics: Sequence[Metric]) -> list[Written]:
    """One photo's maps with the scores that their records lack; the records on disk are brought up to date."""
    wanted = [metric.label for metric in metrics]
    if all(label in one.record.scores for one in written for label in wanted):
        return list(written)
    source = written[0].source
    loaded = load(source, run.classifier.view, run.settings.background, run.settings.decode_timeout)
    if isinstance(loaded, Failure):
        raise loaded.error
    content, frame, inputs = loaded.photo.content, loaded.photo.frame, loaded.input.to(run.classifier.device)
    photo = ScoredPhoto(run.classifier, source.path, content, frame, inputs, run.settings.seed)
    by_label = {method.label: method for method in run.methods}
    explanations = [
        explanation(run, by_label[label], [one for one in written if one.record.method == label])
        for label in dict.fromkeys(one.record.method for one in written)
    ]
    found: dict[tuple[str, str], dict[str, float | str]] = {}
    for row in score_photo(photo, explanations, metrics):
        found.setdefault((row.method, row.target), {})[row.metric] = row.status if row.value is None else row.value
    return [updated(one, {**one.record.scores, **found[one.record.method, one.record.target]}) for one in written]


def explanation(run: FolderRun, method: Method, own: Sequence[Written]) -> Explanation:
    """A method's maps of one photo, as they are on disk, for the targets in their records."""
    values = torch.stack([torch.from_numpy(load_array(one.path(".npy"))) for one in own])[None]
    # Made-up logits: the targets are known, and only their indices are read.
    logits = torch.zeros((1, run.classifier.count))
    parts = [Targets((rule_of(one.record),), run.classifier.outputs).resolve(logits) for one in own]
    resolved = dataclasses.replace(
        parts[0],
        classes=torch.cat([part.classes for part in parts], dim=1),
        against=torch.cat([part.against for part in parts], dim=1),
        scores=torch.cat([part.scores for part in parts], dim=1),
    )
    return Explanation(explainer_of(run, method), Maps(values, resolved, logits))


def rule_of(record: Record) -> TargetRule:
    index, dash, against = record.target.partition("-")
    return TargetRule(index=int(index), against=int(against)) if dash else TargetRule(index=int(index))


def updated(written: Written, scores: dict[str, float | str]) -> Written:
    record = dataclasses.replace(written.record, scores=scores)
    content = record.to_json().encode()
    write_atomic(written.path(".json"), lambda file: file.write(content))
    return dataclasses.replace(written, record=record)
