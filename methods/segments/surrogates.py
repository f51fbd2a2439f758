"""Linear surrogates of the model around one photo: LIME and kernel SHAP. They need the forward pass alone.

Both hide random sets of segments and fit a linear function of which are shown; they differ in how sets are drawn and
weighted.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaicli.method import Cost, Maps, param
from xaicli.methods.segments.coalitions import Coalitions
from xaicli.methods.segments.interactions import FittedCopies, SurrogateMethod, interactions_of, ridge_fit
from xaicli.methods.segments.segmentation import SEGMENT_BASELINE_HELP, SEGMENTS_HELP, SegmentBaseline, Segments
from xaicli.network.classifier import Classifier
from xaicli.passes.explained_score import SCORE_HELP, Score
from xaicli.passes.seeds import stream
from xaicli.targets import Targets

RIDGE = 1e-3
"""Penalty on the squared weights where kernel SHAP fits pairs; its map has none."""


@dataclass(frozen=True, kw_only=True)
class LIME(SurrogateMethod):
    """Weights of a linear model of the score, fitted to copies that show random superpixels.

    `w = argmin sum_i k_i (f(z_i) - b - w . z_i)^2 + ridge |w|^2`: z_i in {0, 1} says which superpixels copy i shows, each with
    probability one half; f is the target's probability; `k_i = exp(-d_i^2 / (2 width^2))` with the cosine distance d_i to the
    whole photo. A hidden superpixel takes its own mean colour, as in the authors' package. Each pixel of the map has its
    superpixel's weight; the superpixels are SLIC's. Maps are (B, T, H, W) at the input's size, signed, in probability or, with
    `score=logit`, in logits.

    `interactions=adjacent` or `top`: also a fit with products, `+ sum_kl c_kl (z_k - m_k)(z_l - m_l)` with m the mean of z, over
    pairs of superpixels that touch, or pairs of the `top_m` strongest. Copies, kernel and ridge are the same: there is no further
    pass, and the map stays as it is. The record lists the pairs (superpixels, places, c_kl), and `--links` draws them. Extras:
    `r2_additive` and `r2_pairwise`, the weighted shares of the copies' variance that the two fits explain; `r2_held_out`, of the
    fifth of the copies that a fit with pairs did not see, and `r2_gain`, how much more that is than without pairs. A large gain
    says that one weight a superpixel is a poor summary. The sign of a pair depends on what hidden superpixels become. The
    products are those of AFEX (Konstantinov and Utkin, arXiv 2108.04855), which is for tables; how they are chosen and
    fitted here is reconstructed.

    `xai explain cat.jpg --method lime`
    """

    n_samples: int = param(1000, "masked copies", ge=2)
    kernel_width: float = param(0.25, "width w of the kernel that favours copies near the photo", gt=0)
    ridge: float = param(1.0, "penalty on the squared weights", ge=0)
    segments: Segments = param("slic", SEGMENTS_HELP)
    n_segments: int = param(50, "segments, about", ge=2)
    baseline: SegmentBaseline = param("segment", SEGMENT_BASELINE_HELP)
    score: Score = param("probability", SCORE_HELP)

    name = "lime"
    paper = "Ribeiro et al., KDD 2016, arXiv 1602.04938"
    stochastic = True

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=2 + self.n_samples)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        photos = Coalitions.of(self, classifier, inputs, targets)
        shown = [self.shown(seed, count) for seed, count in zip(seeds.tolist(), photos.counts, strict=True)]
        scores = photos.scores(shown)
        copies = [
            self.fitted(own, rows, clean) for own, rows, clean in zip(shown, scores, photos.clean.cpu().double(), strict=True)
        ]
        weights = [ridge_fit(own.shown.double(), own.scores, own.weights, self.ridge) for own in copies]
        extras = interactions_of(self, photos, copies, weights, seeds, self.ridge) if self.pairwise else {}
        return Maps(photos.spread(weights), photos.chosen, photos.logits, extras)

    @property
    def copies(self) -> int:
        return 1 + self.n_samples

    def fitted(self, shown: Tensor, scores: Tensor, clean: Tensor) -> FittedCopies:
        """The whole photo, then the copies."""
        whole = torch.ones(1, shown.shape[1], dtype=torch.bool)
        return FittedCopies(torch.cat([whole, shown]), torch.cat([clean[None], scores]), self.nearness(shown))

    def shown(self, seed: int, count: int) -> Tensor:
        """Random coalitions (n, K) bool of a photo."""
        return torch.from_numpy(stream(seed, "coalitions").random((self.n_samples, count)) < 0.5)

    def nearness(self, shown: Tensor) -> Tensor:
        """Weights of the whole photo and of copies (n, K): 1, then the kernel of the cosine distance of coalition and
        photo."""
        cosine = (shown.double().sum(dim=1) / shown.shape[1]).sqrt()
        return torch.cat([torch.ones(1), torch.exp(-((1 - cosine) ** 2) / (2 * self.kernel_width**2))]).double()


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(SurrogateMethod):
    """Shapley values of segments by a weighted linear fit to random coalitions.

    `w = argmin sum_i (v(z_i) - v(0) - w . z_i)^2` under `sum(w) = v(1) - v(0)`: v is the target's logit with only the segments
    of z_i shown, and coalitions z_i are drawn by the Shapley kernel, each with its complement, which lowers the variance
    (Covert and Lee, 2021). Where there are no more coalitions than `n_samples`, all are taken and the values are exact. The
    constraint holds exactly; captum gives the two end points a large weight instead. Each pixel of the map has its segment's
    value. Maps are (B, T, H, W) at the input's size, signed, in logits or, with `score=probability`, in probability.

    `interactions=adjacent` or `top` lists pairs of segments as `lime` does, from a least-squares fit of its own to the same
    coalitions, without the constraint; where so few segments are taken exactly, there may be too few coalitions to tell pairs.

    `xai explain cat.jpg --method kernel-shap`
    """

    n_samples: int = param(1000, "masked copies", ge=2)
    paired: bool = param(True, "follow each coalition by its complement")
    segments: Segments = param("slic", SEGMENTS_HELP)
    n_segments: int = param(50, "segments, about", ge=2)

    name = "kernel-shap"
    aliases = ("shap",)
    paper = "Lundberg and Lee, NeurIPS 2017, arXiv 1705.07874"
    stochastic = True

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=3 + self.n_samples)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        photos = Coalitions.of(self, classifier, inputs, targets)
        drawn = [self.coalitions(seed, count) for seed, count in zip(seeds.tolist(), photos.counts, strict=True)]
        scores = photos.scores([torch.cat([torch.zeros(1, own.shape[1], dtype=torch.bool), own]) for own, _ in drawn])
        copies = [FittedCopies(own, rows[1:] - rows[0], weights) for (own, weights), rows in zip(drawn, scores, strict=True)]
        values = [
            constrained_fit(own.shown, own.scores, own.weights, clean - rows[0])
            for own, rows, clean in zip(copies, scores, photos.clean.cpu().double(), strict=True)
        ]
        extras = interactions_of(self, photos, copies, values, seeds, RIDGE) if self.pairwise else {}
        return Maps(photos.spread(values), photos.chosen, photos.logits, extras)

    @property
    def copies(self) -> int:
        return self.n_samples

    def coalitions(self, seed: int, count: int) -> tuple[Tensor, Tensor]:
        """Coalitions (n, K) bool, neither empty nor whole, and their weights (n,) in the fit."""
        if 2**count - 2 <= self.n_samples:
            # A photo of one colour is one segment: no coalition is left, and the whole effect is that segment's.
            every = torch.tensor(list(itertools.product((False, True), repeat=count))[1:-1], dtype=torch.bool).reshape(-1, count)
            kernel = [shapley_kernel(count, size) for size in every.sum(dim=1).tolist()]
            return every, torch.tensor(kernel, dtype=torch.float64)
        draws = stream(seed, "coalitions")
        sizes = np.arange(1, count)
        likely = 1 / (sizes * (count - sizes))
        rows = np.zeros((self.n_samples, count), dtype=bool)
        for sample in range(self.n_samples):
            if self.paired and sample % 2:
                rows[sample] = ~rows[sample - 1]
            else:
                size = draws.choice(sizes, p=likely / likely.sum())
                rows[sample, draws.permutation(count)[:size]] = True
        return torch.from_numpy(rows), torch.ones(self.n_samples, dtype=torch.float64)


def shapley_kernel(count: int, size: int) -> float:
    """Weight of one coalition of `size` of `count` segments (paper, theorem 2), up to a factor."""
    return 1 / (math.comb(count, size) * size * (count - size))


def constrained_fit(shown: Tensor, gains: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Coefficients (K, T) of a weighted linear fit of gains (n, T) on coalitions (n, K) whose sum is `total` (T,)."""
    if shown.shape[1] == 1:
        return total[None]
    features, last = shown[:, :-1].double(), shown[:, -1:].double()
    root = weights.sqrt()[:, None]
    # The last coefficient is what the others leave of the total.
    inverse: Tensor = torch.linalg.pinv(root * (features - last))
    fitted = inverse @ (root * (gains - last * total))
    return torch.cat([fitted, total - fitted.sum(dim=0, keepdim=True)])
