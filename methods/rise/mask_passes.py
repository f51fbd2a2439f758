"""The passes of RISE: masked copies of photos, or photos without some of their patches, and the scores of their targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from xaicli.methods.rise.mask_estimates import Sample
from xaicli.methods.rise.mask_laws import MaskLaw
from xaicli.methods.rise.masks import MaskPainter
from xaicli.network.classifier import Classifier
from xaicli.passes.part_sequences import PartSequences, part_sequences
from xaicli.passes.queue import CopyJob, run
from xaicli.targets import Resolved

RiseScore = Literal["probability", "logit", "dice"]
SCORE_OF: dict[RiseScore, Callable[[Resolved, Tensor], Tensor]] = {
    "probability": Resolved.probability,
    "logit": Resolved.logit,
    "dice": Resolved.dice,
}


@dataclass(eq=False)
class Passes(ABC):
    """The scores (B, masks, T) of B photos, as far as they were run. seeds: one a photo; limit: maximum masks a photo."""

    classifier: Classifier
    inputs: Tensor
    chosen: Resolved
    seeds: list[int]
    law: MaskLaw
    score: RiseScore
    limit: int
    scores: Tensor = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.inputs), self.limit, self.chosen.classes.shape[1])
        self.scores = torch.full(shape, torch.nan, device=self.inputs.device)

    @abstractmethod
    def run(self, rows: Sequence[int], done: int, upto: int) -> None:
        """Run the masks from `done` to `upto` of the photos `rows`."""

    def scores_of(self, row: int, logits: Tensor) -> Tensor:
        """Scores (n, T) of logits (n, C) of copies of a photo."""
        copies = self.chosen[torch.full((len(logits),), row, device=self.inputs.device)]
        return SCORE_OF[self.score](copies, logits)

    def samples(self, row: int, upto: int) -> list[Sample]:
        """The record of the first masks of a photo, one for each target."""
        scores = self.scores[row, :upto].cpu().double()
        return [Sample(self.law, self.seeds[row], column.contiguous()) for column in scores.unbind(dim=1)]


@dataclass(eq=False)
class MaskedPasses(Passes):
    """Copies of photos under masks, in the queue. baseline: the value under a closed mask."""

    baseline: float = 0.0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.contents = self.inputs - self.baseline
        self.painter = MaskPainter.on(self.inputs.device, self.law.grid)
        self.batch_size = self.classifier.batch_size

    def run(self, rows: Sequence[int], done: int, upto: int) -> None:
        shape = (self.inputs.shape[1], self.inputs.shape[2], self.inputs.shape[3])
        jobs, expected = self.jobs(rows, done, upto), self.limit * len(self.inputs)
        self.batch_size = run(self.classifier, jobs, shape, batch_size=self.batch_size, passes=expected, exact=False)

    def jobs(self, rows: Sequence[int], done: int, upto: int) -> Iterator[CopyJob]:
        """Jobs for the masks from `done` to `upto` of the photos `rows`, one per chunk."""
        for row in rows:
            for start in range(done, upto, self.law.chunk):
                yield self.job(row, start, min(start + self.law.chunk, upto))

    def job(self, row: int, first: int, last: int) -> CopyJob:
        drawn = self.law.draw(self.seeds[row], first // self.law.chunk)
        device = self.inputs.device
        bits, shifts = drawn.bits.to(device, torch.float32), drawn.shifts.to(device)
        content, scores = self.contents[row], self.scores[row, first:last]

        def write(out: Tensor, start: int, stop: int) -> None:
            masks = self.painter.masks(bits[start:stop], shifts[start:stop])
            torch.mul(content, masks[:, None], out=out)
            if self.baseline:
                out.add_(self.baseline)

        def receive(logits: Tensor, start: int, stop: int) -> None:
            scores[start:stop] = self.scores_of(row, logits)

        return CopyJob(last - first, write, receive)


@dataclass(eq=False)
class PatchPasses(Passes):
    """Photos without the patches under closed cells: each mask is 0 or 1 at each patch. what: the method's label."""

    what: str = ""

    def run(self, rows: Sequence[int], done: int, upto: int) -> None:
        painter = MaskPainter.on(torch.device("cpu"), self.law.grid)
        for row in rows:
            drawn = [self.law.draw(self.seeds[row], start // self.law.chunk) for start in range(done, upto, self.law.chunk)]
            masks = torch.cat([painter.masks(each.bits.float(), each.shifts) for each in drawn])[: upto - done]
            with part_sequences(self.classifier, self.inputs[row : row + 1], self.what, exact=False) as sequences:
                self.run_kept(row, done, masks.flatten(1) > 0.5, sequences)

    def run_kept(self, row: int, done: int, kept: Tensor, sequences: PartSequences) -> None:
        scores = self.scores[row, done : done + len(kept)]

        def receive(places: Tensor, logits: Tensor) -> None:
            scores[places.to(scores.device)] = self.scores_of(row, logits)

        sequences.run(kept, receive)
