"""Scores of photos with only some segments shown; shared by ablation, Shapley values and surrogates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.method import Method, Needs, Sign, param
from xaicli.methods.segments.segmentation import (
    SEGMENT_BASELINE_HELP,
    SEGMENTS_HELP,
    SegmentBaseline,
    Segments,
    hidden_inputs,
    segment,
)
from xaicli.network.classifier import Classifier
from xaicli.passes.explained_score import SCORE_HELP, Score, scores_of
from xaicli.passes.queue import CopyJob, clean_logits, run
from xaicli.targets import Resolved, Targets


@dataclass(frozen=True, kw_only=True)
class SegmentMethod(Method):
    """The common base of methods over segments: how a photo is divided, what hidden segments become, and which score is
    explained."""

    segments: Segments = param("grid", SEGMENTS_HELP)
    n_segments: int = param(49, "segments, about", ge=2)
    baseline: SegmentBaseline = param("zero", SEGMENT_BASELINE_HELP)
    score: Score = param("logit", SCORE_HELP)

    needs = Needs.FORWARD
    masks_input = True

    @property
    def sign(self) -> Sign:
        return Sign.SIGNED


@dataclass(frozen=True, eq=False)
class Coalitions:
    """Photos divided into segments, any of which can be shown alone.

    inputs, hidden: (B, 3, H, W), the photos and what their hidden pixels become; labels: for each photo the segment at each
    pixel, (H, W) int64; logits (B, C) and chosen: of the clean pass; clean: the photos' scores (B, T);
    passes: of copies that are expected in all.
    """

    classifier: Classifier
    inputs: Tensor
    hidden: Tensor
    labels: list[Tensor]
    logits: Tensor
    chosen: Resolved
    kind: Score
    clean: Tensor
    passes: float

    @classmethod
    def of(cls, method: SegmentMethod, classifier: Classifier, inputs: Tensor, targets: Targets) -> Coalitions:
        """Divide photos as the method says, and run them once unaltered."""
        inputs = inputs.detach()
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        labels = [segment(method.segments, classifier.view, photo, method.n_segments) for photo in inputs]
        hidden = hidden_inputs(method.baseline, classifier.view, inputs, labels)
        passes = len(inputs) * method.cost(classifier).forward
        # In the precision of masked passes, so that differences have no offset.
        half = classifier.masked_dtype != torch.float32
        unchanged = clean_logits(classifier, inputs, passes=passes, exact=False) if half else logits
        clean = scores_of(chosen, unchanged, method.score)
        return cls(classifier, inputs, hidden, labels, logits, chosen, method.score, clean, passes)

    @property
    def counts(self) -> list[int]:
        """Segments of each photo."""
        return [int(labels.max()) + 1 for labels in self.labels]

    def scores(self, shown: Sequence[Tensor]) -> list[Tensor]:
        """For each photo the scores (n, T), float64 on the CPU, of n copies that show one coalition each.

        shown: for each photo its coalitions, (n, K) bool. All copies of all photos go through one queue.
        """
        scores = [torch.zeros(len(rows), self.chosen.classes.shape[1], device=self.inputs.device) for rows in shown]

        def job(row: int) -> CopyJob:
            coalitions, own = shown[row].to(self.inputs.device), self.chosen[row : row + 1]

            def write(out: Tensor, start: int, stop: int) -> None:
                visible = coalitions[start:stop][:, self.labels[row]]
                out.copy_(torch.where(visible[:, None], self.inputs[row], self.hidden[row]))

            def receive(logits: Tensor, start: int, stop: int) -> None:
                scores[row][start:stop] = scores_of(own, logits, self.kind)

            return CopyJob(len(coalitions), write, receive)

        channels, height, width = self.inputs.shape[1:]
        jobs = (job(row) for row in range(len(self.inputs)))
        run(self.classifier, jobs, (channels, height, width), passes=self.passes, exact=False)
        return [each.cpu().double() for each in scores]

    def spread(self, values: Sequence[Tensor]) -> Tensor:
        """Maps (B, T, H, W), float32: for each photo values (K, T) of its segments, written to their pixels."""
        maps = [own.to(self.inputs.device, torch.float32).T[:, labels] for own, labels in zip(values, self.labels, strict=True)]
        return torch.stack(maps)
