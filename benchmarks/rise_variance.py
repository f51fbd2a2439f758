"""RISE at equal masks: the variance of a map, by sampling and estimate, over that of the paper's own."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.figures import Figure
from xaicli.images.decode import decode
from xaicli.images.find import find
from xaicli.methods.rise.rise import RISE
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

MASKS = 1024
PAPER = RISE(n_masks=MASKS, sampling="iid", estimator="naive", return_se=True)
WAYS = {
    "antithetic, center": RISE(n_masks=MASKS, return_se=True),
    "balanced, center": RISE(n_masks=MASKS, sampling="balanced", return_se=True),
    "antithetic, regress": RISE(n_masks=MASKS, estimator="regress", return_se=True),
    "balanced, regress": RISE(n_masks=MASKS, sampling="balanced", estimator="regress", return_se=True),
}


def measure(rounds: int) -> list[Figure]:
    """One seed a round, on the sample photo; a ratio is of the means over the seeds."""
    figures = []
    for name in ("tiny", "tiny-vit"):
        network = load_classifier(name)
        inputs = network.view.prepare(decode(find(["sample:hopper"])[0]).image)[None]
        plain = mean_variance(PAPER, network, inputs, rounds)
        for way, rise in WAYS.items():
            ratio = mean_variance(rise, network, inputs, rounds) / plain
            figures.append(Figure(f"variance of RISE, {way}, over the paper's, {name}, {MASKS} masks", "", (ratio,), 1.0))
    return figures


def mean_variance(rise: RISE, network: Classifier, inputs: Tensor, rounds: int) -> float:
    return sum(variance(rise, network, inputs, seed) for seed in range(rounds)) / rounds


def variance(rise: RISE, network: Classifier, inputs: Tensor, seed: int) -> float:
    """Mean over pixels of the map's variance, as it is read between eight groups of its masks."""
    maps = rise.attribute(network, inputs, Targets.same(DECISION, 1), torch.tensor([seed]))
    return float(maps.extras["se"].square().mean())
