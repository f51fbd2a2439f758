"""Tiny models with known answers, and one call that scores given maps of given photos."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.method import Maps, Needs, Sign
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.rows import Row
from xaicli.runs.controls import swapped
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import refuse_unfit, score_photo
from xaicli.targets import Resolved

ALL_NEEDS = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES


class Tally:
    """A number that a network and its copies share."""

    def __init__(self) -> None:
        self.photos = 0

    def __deepcopy__(self, memo: object) -> Tally:
        return self


class Counting(nn.Module):
    """Counts the photos that pass through a network, or through a copy of it."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.tally = Tally()

    @property
    def photos(self) -> int:
        return self.tally.photos

    def forward(self, inputs: Tensor) -> Tensor:
        self.tally.photos += len(inputs)
        return self.inner(inputs)


def mean_probability(inputs: Tensor) -> Tensor:
    """Logits of two classes: the probability of class 0 is the sum of the pixels, a pixel being the mean of its channels."""
    share = inputs.mean(dim=1).sum(dim=(1, 2)).clamp(0, 1)
    return torch.stack([share.clamp_min(1e-30).log(), (1 - share).clamp_min(1e-30).log()], dim=1)


@dataclass(frozen=True)
class MadeMaps:
    """Maps of P photos by one explainer; lent: those of their partners, which then are scored in their place."""

    explainer: Explainer
    maps: Maps
    lent: Maps | None = None
    partner: str = "ab" * 32

    def of_photo(self, at: int) -> Explanation:
        own = Explanation.of(self.explainer, self.maps.photo(at))
        return own if self.lent is None else swapped(own, self.lent.values[at], self.partner)


@dataclass
class Desk:
    """Scores maps as a run would, with photos, contents and seeds made up."""

    classifier: Classifier
    made: dict[str, Any] = field(default_factory=dict)

    def explanation(
        self,
        values: Tensor,
        classes: Sequence[int] | Tensor = (),
        *,
        against: int = -1,
        sign: Sign = Sign.SIGNED,
        label: str = "given",
        **further: Any,
    ) -> MadeMaps:
        """Maps (P, h, w) or (P, T, h, w) of P photos for classes (P,) or (P, T), by default class 0."""
        values = values if values.ndim == 4 else values[:, None]
        shape = values.shape[:2]
        chosen = (
            torch.as_tensor(classes, dtype=torch.int64).reshape(shape) if len(classes) else torch.zeros(shape, dtype=torch.int64)
        )
        targets = Resolved(chosen, torch.full_like(chosen, against), torch.zeros(shape))
        content = {"name": label, "version": 1, "parameters": {}}
        maps = Maps(values, targets, torch.zeros(shape[0], self.classifier.count))
        return MadeMaps(Explainer(label, content, sign, name=label, **further), maps)

    def photos(
        self,
        inputs: Tensor,
        names: Sequence[str] = (),
        truth: Sequence[Any] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[ScoredPhoto]:
        names = tuple(names) or tuple(f"{row}.png" for row in range(len(inputs)))
        classifier = replace(self.classifier, batch_size=batch_size)
        marked = truth or [None] * len(names)
        return [
            ScoredPhoto(classifier, name, hashlib.sha256(name.encode()).hexdigest(), 0, photo, seed, known)
            for name, photo, known in zip(names, inputs, marked, strict=True)
        ]

    def rows(
        self,
        metrics: Metric | Sequence[Metric],
        inputs: Tensor,
        maps: Tensor | MadeMaps | Sequence[MadeMaps],
        *,
        names: Sequence[str] = (),
        truth: Any = None,
        batch_size: int | None = None,
        seed: int = 0,
        wanted: Container[str] | None = None,
        **further: Any,
    ) -> list[Row]:
        metrics = [metrics] if isinstance(metrics, Metric) else list(metrics)
        if isinstance(maps, Tensor):
            maps = self.explanation(maps, **further)
        given = [maps] if isinstance(maps, MadeMaps) else list(maps)
        for one in given:
            if not (one.explainer.control or one.lent):
                refuse_unfit(metrics, one.explainer, self.classifier, truth=truth is not None)
        return [
            row
            for at, photo in enumerate(self.photos(inputs, names, truth, seed, batch_size))
            for row in score_photo(
                photo,
                [one.of_photo(at) for one in given],
                metrics,
                wanted=wanted,
            )
        ]

    def values(self, *args: Any, **kwargs: Any) -> list[float | None]:
        return [row.value for row in self.rows(*args, **kwargs)]


@dataclass(frozen=True)
class Drawn:
    """Ground truth by class index: masks as they are."""

    masks: dict[int, np.ndarray]

    def mask(self, index: int) -> np.ndarray | None:
        return self.masks.get(index)


@pytest.fixture
def drawn() -> type[Drawn]:
    return Drawn


@pytest.fixture
def desk() -> Callable[..., Desk]:
    """`desk(network, (height, width), classes)`: a desk over a network or function; pixels are its inputs, not normalised."""

    def make(
        network: Callable[[Tensor], Tensor],
        size: tuple[int, int],
        count: int = 2,
        mean: tuple[float, float, float] = (0, 0, 0),
        std: tuple[float, float, float] = (1, 1, 1),
        provides: Needs = ALL_NEEDS,
    ) -> Desk:
        module = network if isinstance(network, nn.Module) else None
        view = View(resize=None, crop=size, mean=mean, std=std)
        names = tuple(f"class {index}" for index in range(count))
        return Desk(Classifier(network, module, "toy", view, names, count, provides, "f" * 16))

    return make


@pytest.fixture
def summing(desk: Callable[..., Desk]) -> Callable[..., Desk]:
    """`summing((height, width))`: the probability of class 0 is the sum of the pixels."""
    return lambda size: desk(mean_probability, size)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    """Counts what metrics ask for: no twin of the network is made, which takes two passes once a network."""
    monkeypatch.setattr("xaicli.passes.folded_engine.WORTH_FOLDING", math.inf)
    monkeypatch.setattr("xaicli.passes.engine.WORTH_CONVERTING", math.inf)
    return Counting


@pytest.fixture
def grey() -> Callable[..., Tensor]:
    """Photos (P, 3, H, W) of three equal channels from rows of pixel values (P, H, W)."""
    return lambda values: torch.as_tensor(values, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1).contiguous()
