"""Sparseness and entropy: on how few places a map concentrates. They read the map alone, at its own resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Scores
from xaicli.scoring.case import Case


@dataclass(frozen=True, kw_only=True)
class Sparseness(Metric):
    """Gini index of the absolute map: 0 where all places count alike.

    `sum_i (2i - n - 1) |a_i| / (n sum |a|)` over the n values a_i of the map at its own resolution, sorted upwards; at most 1 -
    1/n. Upsampling changes it: compare methods whose maps have one resolution. Higher is sparser, and better only where that is
    wanted.

    `xai score photos/ --method grad-cam --metric sparseness`
    """

    name = "sparseness"
    aliases = ("gini",)
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    signs = MAGNITUDES
    of_frames = True
    paper = "Chalasani et al.: Concise explanations of neural networks using adversarial training, ICML 2020, arXiv 1810.06583"

    def score(self, case: Case) -> Scores:
        values = in_float64(case.maps).abs().flatten(1).sort(dim=1).values
        count = values.shape[1]
        weights = 2 * torch.arange(1, count + 1, device=values.device) - count - 1
        return Scores((values * weights).sum(dim=1) / (count * values.sum(dim=1)))


@dataclass(frozen=True, kw_only=True)
class Entropy(Metric):
    """Shannon entropy of the absolute map, scaled to sum to 1, in nats.

    `-sum_i q_i log q_i` with `q_i = |a_i| / sum |a|` over the map's values at its own resolution: 0 where one place has
    everything, log n where all n places have the same. Lower is simpler. The read-out `relative` is the entropy divided by log
    n, 0 to 1, and can be compared across resolutions.

    `xai score photos/ --method grad-cam --metric entropy`
    """

    name = "entropy"
    direction = Direction.LOWER
    range = (0.0, math.inf)
    unit = "nats"
    signs = MAGNITUDES
    of_frames = True
    readouts = {"relative": "entropy over the logarithm of the number of places, 0 to 1"}
    paper = "Bhatt, Weller, Moura: Evaluating and aggregating feature-based model explanations, IJCAI 2020, arXiv 2005.00631"

    def score(self, case: Case) -> Scores:
        values = in_float64(case.maps).abs().flatten(1)
        shares = values / values.sum(dim=1, keepdim=True)
        entropy = torch.special.entr(shares).sum(dim=1)
        return Scores(entropy, {"relative": entropy / math.log(values.shape[1])})
