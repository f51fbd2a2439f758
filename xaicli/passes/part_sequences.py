"""Many passes of one photo on part of its patches, in batches of equal length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xaicli.network.classifier import Classifier
from xaicli.network.kept_patches import KeptPatches, kept_patches
from xaicli.passes.memory import chunk_for, in_chunks

Receive = Callable[[Tensor, Tensor], object]
"""receive(rows, logits) receives the logits (n, C), float32, of the sequences of the numbers `rows` (n,)."""


@dataclass(frozen=True, eq=False)
class PartSequences:
    """What leaves patches out, for one photo. grid: rows and columns of patches; logits: (1, C), of all patches."""

    classifier: Classifier
    patches: KeptPatches
    exact: bool

    @property
    def grid(self) -> tuple[int, int]:
        return self.patches.layout.grid

    @property
    def logits(self) -> Tensor:
        return self.patches.logits

    def run(self, kept: Tensor, receive: Receive) -> None:
        """Run M sequences; kept: (M, patches) bool. Sequences of one length run together, whatever their order."""
        lengths = kept.sum(dim=1)
        chunk = chunk_for(self.classifier, self.classifier.view.size)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero().flatten()
            for start, logits in in_chunks(partial(self.part, kept[rows]), len(rows), chunk):
                receive(rows[start : start + len(logits)], logits)

    def part(self, kept: Tensor, start: int, stop: int) -> Tensor:
        return self.logits_of(kept[start:stop])

    def logits_of(self, kept: Tensor) -> Tensor:
        half = not self.exact and self.classifier.masked_dtype != torch.float32
        dtype = self.classifier.masked_dtype if half else None
        with torch.no_grad(), torch.autocast(self.classifier.device.type, dtype=dtype, enabled=half):
            return self.patches(kept.to(self.classifier.device)).float()


@contextmanager
def part_sequences(classifier: Classifier, photo: Tensor, what: str, *, exact: bool) -> Iterator[PartSequences]:
    """Passes of a photo (1, 3, H, W) without some of its patches; see `kept_patches`. exact: float32, else `masked_dtype`."""
    with kept_patches(classifier, photo, what) as patches:
        yield PartSequences(classifier, patches, exact)
