"""What a metric is given: maps, and all that may be read beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from xaicli.method import Maps
from xaicli.network.classifier import Classifier
from xaicli.passes.upsampling import upsample
from xaicli.scoring import ranking
from xaicli.scoring.copies import Copies, Outcomes, whole
from xaicli.scoring.ranking import Ties
from xaicli.scoring.removal import Ground, grounds
from xaicli.sign import Sign
from xaicli.targets import NO_CLASS, TargetRule, Targets

T = TypeVar("T")
GroundKind: TypeAlias = Ground | Literal["rise-blur"]
Explain: TypeAlias = "Callable[[Classifier, Tensor, Targets, Tensor], Maps]"
"""`Method.attribute`, or what stands for it."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """P photos that are scored together: inputs (P, 3, H, W), preprocessed; seeds, one a photo; logits (P, C) of the clean photos
    where a metric asks for them."""

    classifier: Classifier
    inputs: Tensor
    seeds: tuple[int, ...]
    logits: Tensor | None = None
    made: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.inputs.shape[2], self.inputs.shape[3]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.inputs.shape[1], *self.size)

    def ground(self, kind: GroundKind) -> Tensor:
        """What takes the place of removed pixels: (P, 3, H, W), as `removal.grounds` defines it."""
        if kind not in self.made:
            self.made[kind] = grounds(kind, self.inputs, self.seeds, self.classifier.view)
        return self.made[kind]


@dataclass(frozen=True, eq=False)
class Explainer:
    """The method that made the maps, ready to explain again.

    seeds: (N,), those under which the method explained the items; batch: photos at once.
    """

    explain: Explain
    seeds: tuple[int, ...]
    stochastic: bool = False
    batch: int = 8


@dataclass(frozen=True, eq=False)
class Case:
    """N maps of one method, each of one photo for one target; an item is one of them.

    maps: (N, h, w) float32 at the method's own resolution, finite, none constant; photos: (N,), the row of `pictures` that each
    belongs to; classes, against: (N,), the targets, -1 in `against` where there is no contrast; sign: of the maps; label: the
    method's. What follows is there only for metrics that declare that they need it: `clean`, `truth`, `explainer`.
    """

    pictures: Pictures
    maps: Tensor
    photos: tuple[int, ...]
    classes: tuple[int, ...]
    against: tuple[int, ...]
    sign: Sign
    label: str = ""
    clean_pass: Outcomes | None = None
    truth_masks: Tensor | None = None
    explainer: Explainer | None = None

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def classifier(self) -> Classifier:
        return self.pictures.classifier

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.pictures.size

    @property
    def device(self) -> torch.device:
        return self.maps.device

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each item's photo, the same for all methods and metrics."""
        return tuple(self.pictures.seeds[photo] for photo in self.photos)

    @property
    def clean(self) -> Outcomes:
        """What the model made of the clean photos: (N,) each."""
        return declared(self.clean_pass, "needs")

    @property
    def logits(self) -> Tensor:
        """Logits of the clean photos: (N, C)."""
        declared(self.clean_pass, "needs")
        return declared(self.pictures.logits, "needs")[list(self.photos)]

    def decided(self, logits: Tensor) -> Tensor:
        """Whether logits (N, C) put each item's target first: (N,) bool; under a contrast, before what it is held against."""
        outcomes = Outcomes.empty(len(self), logits.device)
        for item, (index, against) in enumerate(zip(self.classes, self.against, strict=True)):
            outcomes.put(item, logits[item : item + 1], index, against)
        return outcomes.decided > 0

    @property
    def stochastic(self) -> bool:
        """Whether the method draws random numbers."""
        return declared(self.explainer, "needs_explain").stochastic

    @property
    def truth(self) -> Tensor:
        """Where the target is: (N, H, W) bool, at least one pixel set in each."""
        return declared(self.truth_masks, "needs_truth")

    def photo(self, item: int) -> Tensor:
        """The preprocessed photo (3, H, W) of an item."""
        return self.pictures.inputs[self.photos[item]]

    def ground(self, item: int, kind: GroundKind) -> Tensor:
        """What takes the place of removed pixels of an item: (3, H, W)."""
        return self.pictures.ground(kind)[self.photos[item]]

    def ground_copies(self, kind: GroundKind) -> list[Copies]:
        """One copy an item: nothing left of the photo. Shared by all that ask for it."""
        return [whole(item, self.ground(item, kind), shared=("ground", kind)) for item in range(len(self))]

    @cached_property
    def upsampled(self) -> Tensor:
        """The maps at the input's resolution: (N, H, W) float32."""
        return upsample(self.maps, self.size)

    @cached_property
    def ranks(self) -> Tensor:
        """The place of each pixel in descending order, ties in the photo's random order: (N, H, W) int32."""
        return ranking.ranks(self.upsampled, self.seeds)

    @cached_property
    def reversed_ranks(self) -> Tensor:
        """`ranks` with ties the other way round."""
        return ranking.ranks(self.upsampled, self.seeds, Ties.REVERSED)

    @cached_property
    def raster_ranks(self) -> Tensor:
        """`ranks` with ties lowest index first."""
        return ranking.ranks(self.upsampled, self.seeds, Ties.RASTER)

    @cached_property
    def tied(self) -> Tensor:
        """The share of pixels (N,) whose saliency another pixel has too."""
        return ranking.tied_share(self.upsampled)

    def explain(
        self,
        *,
        inputs: Tensor | None = None,
        classes: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Maps (N, h, w) of the same method, and the logits (N, C), for the same photos, targets and seeds but for what is given.

        inputs: (N, 3, H, W); classes: (N,) other targets.
        """
        again = declared(self.explainer, "needs_explain")
        drawn = torch.tensor(again.seeds if seeds is None else seeds, dtype=torch.int64)
        rules = [
            TargetRule(index=index, against=against)
            for index, against in zip(
                self.classes if classes is None else classes,
                self.against if classes is None else [NO_CLASS] * len(self),
                strict=True,
            )
        ]
        parts = []
        for start in range(0, len(self), again.batch):
            rows = slice(start, start + again.batch)
            photos = torch.stack([self.photo(item) for item in range(len(self))[rows]]) if inputs is None else inputs[rows]
            maps = again.explain(self.classifier, photos, Targets(tuple(rules[rows])), drawn[rows])
            parts.append((maps.values[:, 0].detach().to(self.device), maps.logits.detach()))
        return torch.cat([values for values, _ in parts]), torch.cat([logits for _, logits in parts])


def declared(given: T | None, declaration: str) -> T:
    """What a metric asked for; a metric that reads what it did not declare is wrong wherever it runs."""
    if given is None:
        raise TypeError(f"this metric reads what it has not declared: set `{declaration}` in its class")
    return given
