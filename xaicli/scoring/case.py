"""A case, which a metric scores: maps, and everything else that a metric may read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from xaicli.network.classifier import Classifier
from xaicli.passes.upsampling import upsample
from xaicli.scoring import ranking
from xaicli.scoring.copies import Copies, Outcomes, whole
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.photo import AnyScoreBaseline, ScoredPhoto
from xaicli.scoring.ranking import Ties
from xaicli.sign import Sign
from xaicli.targets import NO_CLASS, TargetRule, Targets

T = TypeVar("T")
AT_ONCE = 8
"""Maximum maps per batch when a metric lets a method explain again."""


@dataclass(frozen=True, eq=False)
class Case:
    """N maps of one photo by one method, each for one target; an item is one of them.

    maps: (N, h, w) float32 at the method's own resolution, (N, t, h, w) of a sequence, finite, none constant; classes, against:
    (N,), the targets, -1 in `against` where there is no contrast. `clean_logits` (1, C), `truth_masks` and `explains` exist only
    for metrics that declare that they need them.
    """

    scored: ScoredPhoto
    explainer: Explainer
    maps: Tensor
    classes: tuple[int, ...]
    against: tuple[int, ...]
    clean_logits: Tensor | None = None
    truth_masks: Tensor | None = None
    explains: bool = False

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def classifier(self) -> Classifier:
        return self.scored.classifier

    @property
    def label(self) -> str:
        """The label of the method."""
        return self.explainer.label

    @property
    def sign(self) -> Sign:
        """The sign of the maps."""
        return self.explainer.sign

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.scored.size

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of what can be removed: (H, W), or (F, H, W) of a sequence, whose pixels are ranked together."""
        return self.scored.places

    @property
    def pixels(self) -> int:
        """How many pixels can be removed: those of the photo, or of all frames."""
        return math.prod(self.places)

    @property
    def device(self) -> torch.device:
        return self.maps.device

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each item's photo, the same for all methods and metrics."""
        return (self.scored.score_seed,) * len(self)

    @cached_property
    def clean(self) -> Outcomes:
        """The outcomes for the clean photo: (N,) each."""
        return self.outcomes(self.logits)

    @property
    def logits(self) -> Tensor:
        """Logits of the clean photo, repeated for each item: (N, C)."""
        return declared(self.clean_logits, "needs").expand(len(self), -1)

    def decided(self, logits: Tensor) -> Tensor:
        """Whether the model decides for each item's target, by logits (N, C): (N,) bool. For a contrast A-B: for A, not B."""
        return self.outcomes(logits).decided > 0

    def outcomes(self, logits: Tensor) -> Outcomes:
        """The outcomes of logits (N, C) for each item's target."""
        outcomes = Outcomes.empty(len(self), logits.device, self.classifier.outputs)
        for item, (index, against) in enumerate(zip(self.classes, self.against, strict=True)):
            outcomes.put(item, logits[item : item + 1], index, against)
        return outcomes

    @property
    def stochastic(self) -> bool:
        """Whether the method draws random numbers."""
        return self.again.stochastic

    @property
    def again(self) -> Explainer:
        """The explainer, for metrics that explain again."""
        return declared(self.explainer if self.explains else None, "needs_explain")

    @property
    def truth(self) -> Tensor:
        """Ground truth of the target: (N, H, W) bool, with at least one pixel set in each."""
        return declared(self.truth_masks, "needs_truth")

    def photo(self, item: int) -> Tensor:
        """The preprocessed photo (3, H, W) of an item."""
        return self.scored.input

    def baseline(self, item: int, kind: AnyScoreBaseline) -> Tensor:
        """The baseline that replaces removed pixels of an item: (3, H, W)."""
        return self.scored.baseline(kind)

    def baseline_copies(self, kind: AnyScoreBaseline) -> list[Copies]:
        """One copy per item in which the whole photo is replaced by the baseline; shared by all metrics that ask for it."""
        return [whole(item, self.baseline(item, kind), shared=("baseline", kind)) for item in range(len(self))]

    @cached_property
    def upsampled(self) -> Tensor:
        """The maps at the input's resolution: (N, H, W) float32, of sequences (N, F, H, W)."""
        return upsample(self.maps, self.places)

    @cached_property
    def ranks(self) -> Tensor:
        """The rank of each pixel in descending order, ties in the photo's random order: int32 of the shape of `upsampled`."""
        return ranking.ranks(self.upsampled, self.seeds)

    @cached_property
    def reversed_ranks(self) -> Tensor:
        """`ranks` with ties the other way round."""
        return ranking.ranks(self.upsampled, self.seeds, Ties.REVERSED)

    @cached_property
    def authors_ranks(self) -> Tensor:
        """`ranks` with ties highest index first, as in the code of RISE's authors."""
        return ranking.ranks(self.upsampled, self.seeds, Ties.AUTHORS)

    @cached_property
    def tied(self) -> Tensor:
        """The share of pixels (N,) with the same saliency as another pixel."""
        return ranking.tied_share(self.upsampled)

    def explain(
        self,
        *,
        inputs: Tensor | None = None,
        classes: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Maps (N, h, w) of the same method, and the logits (N, C), for the same photo, targets and seed except those given.

        inputs: (N, 3, H, W); classes: (N,) other targets; seeds: (N,).
        """
        attribute = declared(self.again.attribute, "needs_explain")
        drawn = torch.tensor([self.scored.seed_for(self.explainer.name)] * len(self) if seeds is None else seeds)
        rules = [
            TargetRule(index=index, against=against)
            for index, against in zip(
                self.classes if classes is None else classes,
                self.against if classes is None else [NO_CLASS] * len(self),
                strict=True,
            )
        ]
        photos = self.scored.input.repeat(len(self), 1, 1, 1) if inputs is None else inputs
        parts = []
        for start in range(0, len(self), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            maps = attribute(self.classifier, photos[rows], Targets(tuple(rules[rows]), self.classifier.outputs), drawn[rows])
            parts.append((maps.values[:, 0].detach().to(self.device), maps.logits.detach()))
        return torch.cat([values for values, _ in parts]), torch.cat([logits for _, logits in parts])


def declared(given: T | None, declaration: str) -> T:
    """The requested value; raises an error for a metric that reads what it does not declare."""
    if given is None:
        raise TypeError(f"this metric reads what it has not declared: set `{declaration}` in its class")
    return given
