"""Effects of segments on the score: feature ablation and sampled Shapley values. They need the forward pass alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.method import Cost, Maps, param
from xaicli.methods.segments.coalitions import Coalitions, SegmentMethod
from xaicli.methods.segments.segmentation import segment_count
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import stream
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class FeatureAblation(SegmentMethod):
    """Fall of the score when one segment is hidden.

    `map(l) = y - y_s` for each pixel l of segment s: y is the target's logit, y_s the logit with the segment replaced by the
    baseline. Maps are (B, T, H, W) at the input's size, signed, in logits or, with `score=probability`, in probability. The
    segments are squares of a grid or superpixels; `occlusion` is the same with windows that overlap.

    `xai explain cat.jpg --method feature-ablation@segments=slic`
    """

    name = "feature-ablation"
    paper = "Zeiler and Fergus, ECCV 2014, arXiv 1311.2901"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=2 + segment_count(self.n_segments, classifier.view if classifier else None))

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        photos = Coalitions.of(self, classifier, inputs, targets)
        without_one = [~torch.eye(count, dtype=torch.bool) for count in photos.counts]
        scores = photos.scores(without_one)
        falls = [clean - rows for clean, rows in zip(photos.clean.cpu().double(), scores, strict=True)]
        return Maps(photos.spread(falls), photos.chosen, photos.logits)


@dataclass(frozen=True, kw_only=True)
class ShapleySampling(SegmentMethod):
    """Shapley values of segments, estimated from random orders in which they appear.

    `map(l) = mean over orders of (v(before + s) - v(before))` for each pixel l of segment s: v is the target's logit with only
    those segments shown, before are the segments that come earlier in the order. Maps are (B, T, H, W) at the input's size,
    signed, in logits or, with `score=probability`, in probability. For any number of orders the gains sum to the score of the
    photo less that of the fully hidden photo. Orders come in pairs, an order and its reverse, which halves the variance where
    effects are nearly additive (Mitchell et al., 2022); `paired=false` is the paper's.

    `xai explain cat.jpg --method shapley-sampling`
    """

    n_samples: int = param(26, "orders", ge=1)
    paired: bool = param(True, "follow each order by its reverse")

    name = "shapley-sampling"
    aliases = ("shapley",)
    paper = "Castro et al., Computers and Operations Research 36, 2009"
    stochastic = True

    def cost(self, classifier: Classifier | None = None) -> Cost:
        inner = segment_count(self.n_segments, classifier.view if classifier else None) - 1
        return Cost(forward=3 + self.n_samples * inner)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        photos = Coalitions.of(self, classifier, inputs, targets)
        orders = [self.orders(seed, count) for seed, count in zip(seeds.tolist(), photos.counts, strict=True)]
        scores = photos.scores([growing(own) for own in orders])
        gains = [
            mean_gains(own, rows, clean) for own, rows, clean in zip(orders, scores, photos.clean.cpu().double(), strict=True)
        ]
        return Maps(photos.spread(gains), photos.chosen, photos.logits)

    def orders(self, seed: int, count: int) -> Tensor:
        """Orders (n, K) in which a photo's K segments appear."""
        drawn: list[Tensor] = []
        for sample in range(self.n_samples):
            if self.paired and sample % 2:
                drawn.append(drawn[-1].flip(0))
            else:
                drawn.append(torch.from_numpy(stream(seed, "order", sample).permutation(count)))
        return torch.stack(drawn)


def growing(orders: Tensor) -> Tensor:
    """The empty coalition, then for each order the coalitions of its first 1 to K - 1 segments: (1 + n (K - 1), K) bool."""
    count = orders.shape[1]
    rank = orders.argsort(dim=1)
    shown = rank[:, None, :] < torch.arange(1, count)[:, None]
    return torch.cat([torch.zeros(1, count, dtype=torch.bool), shown.reshape(-1, count)])


def mean_gains(orders: Tensor, scores: Tensor, clean: Tensor) -> Tensor:
    """Gains (K, T) of segments as they appear, averaged over orders; scores: of `growing(orders)`, clean: (T,) of the
    whole photo."""
    samples, count = orders.shape
    inner = scores[1:].reshape(samples, count - 1, -1)
    empty, full = scores[0].expand(samples, 1, -1), clean.expand(samples, 1, -1)
    steps = torch.cat([empty, inner, full], dim=1).diff(dim=1)
    rank = orders.argsort(dim=1)
    return steps.gather(1, rank[..., None].expand_as(steps)).mean(dim=0)
