"""ROAD: remove and debias (Rong et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.metric import Direction, Measuring, Metric, Needs, Scores, ValueKind, param
from xaicli.metrics.road.imputation import impute
from xaicli.passes.seeds import stream
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies

Order = Literal["morf", "lerf"]


@dataclass(frozen=True, kw_only=True)
class ROAD(Metric):
    """Whether the decision survives when relevant pixels are interpolated away.

    `area under the share of photos still decided alike, over the fraction of pixels removed`. For each fraction of `remove`,
    the most relevant (`order=morf`) or least relevant (`order=lerf`) pixels become the weighted mean of their neighbours plus a
    little noise, so that the shape of the removed part says little. Then the target either still comes first or not
    (`output=accuracy`: 1 or 0), or keeps some probability (`output=probability`). The points (0, 1) and (1, 0) close the curve.
    The area is 0 to 1, low for `morf` and high for `lerf`. `order=combined`, the default, is `(lerf - morf) / 2`, -1/2 to 1/2:
    higher is better, and 0 is a map without information. Colours are interpolated in 0..1 before normalisation, noise is drawn
    from the photo's seed, and equal pixels go in its random order.

    `xai score photos/ --method grad-cam --metric road`
    """

    name = "road"
    needs = Needs.FORWARD
    needs_probability = True
    readouts = {
        "morf": "area when the most relevant pixels are removed, under `output`",
        "lerf": "area when the least relevant pixels are removed, under `output`",
        "accuracy": "the value under output=accuracy",
        "probability": "the value under output=probability",
        "tied": "share of pixels whose saliency another pixel has too",
    }
    paper = "Rong et al.: A consistent and efficient evaluation strategy for attribution methods, ICML 2022, arXiv 2202.00449"

    order: Literal["combined", "morf", "lerf"] = param("combined", "which pixels are removed")
    remove: tuple[float, ...] = param((0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9), "fractions of the pixels", gt=0, lt=1)
    output: Literal["accuracy", "probability"] = param("accuracy", "what is read from the model")
    noise: float = param(0.01, "standard deviation added to filled pixels, of colours in 0..1", ge=0, le=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "remove", tuple(sorted(set(self.remove))))

    @property
    def direction(self) -> Direction:
        return Direction.LOWER if self.order == "morf" else Direction.HIGHER

    @property
    def range(self) -> tuple[float, float]:
        if self.one_decision:
            (fraction,) = self.remove
            return fraction / 2, (1 + fraction) / 2
        return (-0.5, 0.5) if self.order == "combined" else (0.0, 1.0)

    @property
    def kind(self) -> ValueKind:
        return ValueKind.BINARY if self.one_decision else ValueKind.CONTINUOUS

    @property
    def one_decision(self) -> bool:
        """Whether the value only says if the decision survived a single removal."""
        return self.output == "accuracy" and len(self.orders) == len(self.remove) == 1

    @property
    def orders(self) -> tuple[Order, ...]:
        return ("morf", "lerf") if self.order == "combined" else (self.order,)

    def passes(self, size: tuple[int, int]) -> float:
        return float(len(self.orders) * len(self.remove))

    def score(self, case: Case) -> Measuring:
        outcomes = yield [self.copies(case, item) for item in range(len(case))]
        shaped = outcomes.view(len(case), len(self.orders), len(self.remove))
        found = {"accuracy": self.areas(in_float64(shaped.decided)), "probability": self.areas(in_float64(shaped.probability))}
        readouts: dict[str, Tensor] = {order: found[self.output][:, at] for at, order in enumerate(self.orders)}
        readouts |= {name: self.combine(areas) for name, areas in found.items()}
        read = shaped.decided if self.output == "accuracy" else shaped.probability
        places = torch.tensor([0.0, *self.remove, 1.0], dtype=torch.float64)
        curve = self.combine(closed(in_float64(read)))
        return Scores(readouts[self.output], {**readouts, "tied": case.tied}, (places, curve))

    def areas(self, curves: Tensor) -> Tensor:
        """Trapezoids (N, O) under curves (N, O, K) that are closed by (0, 1) and (1, 0)."""
        places = torch.tensor([0.0, *self.remove, 1.0], dtype=torch.float64, device=curves.device)
        return torch.trapezoid(closed(curves), places, dim=2)

    def combine(self, areas: Tensor) -> Tensor:
        """The areas or curves (N, O, ...) of the orders combined into one, (N, ...)."""
        return (areas[:, 1] - areas[:, 0]) / 2 if self.order == "combined" else areas[:, 0]

    def copies(self, case: Case, item: int) -> Copies:
        """An item's copies. They are made together when the queue reaches them, so that they do not depend on its batches."""
        made: list[Tensor] = []

        def write(out: Tensor, start: int, stop: int) -> None:
            if not made:
                made.append(self.filled(case, item))
            out.copy_(made[0][start:stop])
            if stop == count:
                made.clear()

        count = len(self.orders) * len(self.remove)
        return Copies(item, count, write)

    def filled(self, case: Case, item: int) -> Tensor:
        """The photo with pixels interpolated away: (O * K, 3, H, W), preprocessed."""
        view, photo, ranks = case.classifier.view, case.photo(item), case.ranks[item]
        removed = torch.stack([self.removed(ranks, order, fraction) for order in self.orders for fraction in self.remove])
        colours = impute(view.unnormalise(photo).expand(len(removed), -1, -1, -1), removed)
        for row in range(len(removed)):
            drawn = stream(case.seeds[item], "road", row).standard_normal(tuple(photo.shape), dtype=np.float32)
            colours[row] += torch.from_numpy(drawn).to(colours) * self.noise
        # Kept pixels keep the photo's bits, which two conversions would change.
        return torch.where(removed[:, None], view.normalise(colours), photo)

    def removed(self, ranks: Tensor, order: Order, fraction: float) -> Tensor:
        count = removed_count(fraction, ranks.numel())
        return ranks < count if order == "morf" else ranks >= ranks.numel() - count


def removed_count(fraction: float, pixels: int) -> int:
    """The number of pixels in a fraction, rounded down, except that a whole number up to binary rounding stays whole."""
    return int(fraction * pixels + 1e-6)


def closed(curves: Tensor) -> Tensor:
    """Curves (N, O, K) with a 1 before and a 0 after."""
    ends = curves.new_ones(*curves.shape[:2], 1)
    return torch.cat([ends, curves, torch.zeros_like(ends)], dim=2)
