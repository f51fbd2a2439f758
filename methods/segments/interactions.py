"""The pairwise term of AFEX (Konstantinov and Utkin, 2021) on segments: what two of them do together, beside what each does.

A surrogate with products of pairs is fitted to the copies that the additive one had. Where it tells much more of copies that were
held out, a plain map is a poor summary of the photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import param
from xaicli.methods.segments.coalitions import Coalitions, SegmentMethod
from xaicli.methods.segments.segmentation import segment_count
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import stream
from xaicli.segment_pairs import COLUMNS, PAIRS

Interactions = Literal["none", "adjacent", "top"]

COPIES_A_COEFFICIENT = 5
HELD_OUT = 1 / 5
CONSTANT = 1e-12
"""Scores of a lower variance have no R2."""


@dataclass(frozen=True, kw_only=True)
class SurrogateMethod(SegmentMethod):
    """The common base of linear surrogates: whether pairs of segments are fitted beside the map, and which."""

    interactions: Interactions = param("none", "also list pairs: of segments that touch, or of the strongest ones", later=True)
    top_m: int = param(8, "the strongest segments whose pairs interactions=top fits", ge=2, later=True)

    @property
    def pairwise(self) -> bool:  # type: ignore[override]
        return self.interactions != "none"

    @property
    def copies(self) -> int:
        """Masked copies that the fit sees at most."""
        raise TypeError(f"{type(self).__name__} counts no copies")

    def most_pairs(self, count: int) -> int:
        """Pairs of `count` segments at most; of segments that touch there are no more than edges in a planar graph."""
        if self.interactions == "top":
            return math.comb(min(self.top_m, count), 2)
        return max(1, 3 * count - 6) if count > 1 else 0

    def require(self, classifier: Classifier) -> None:
        """Refuse pairs that so few copies cannot tell apart."""
        if not self.pairwise:
            return
        count = segment_count(self.n_segments, classifier.view)
        wanted = copies_needed(count, self.most_pairs(count))
        if self.copies < wanted:
            raise UsageError(
                f"{self.label}: too few copies to tell the pairs of {count} segments",
                expected=f"n_samples={wanted} or more",
                hint="Or take fewer segments: n_segments.",
            )


def copies_needed(count: int, pairs: int) -> int:
    return COPIES_A_COEFFICIENT * (1 + count + pairs)


@dataclass(frozen=True, eq=False)
class FittedCopies:
    """The copies of one photo that a surrogate is fitted to. shown: coalitions (n, K) bool; scores (n, T) and weights (n,) in the
    fit, both float64."""

    shown: Tensor
    scores: Tensor
    weights: Tensor

    def at(self, rows: Tensor) -> FittedCopies:
        return FittedCopies(self.shown[rows], self.scores[rows], self.weights[rows])

    def of_target(self, at: int) -> FittedCopies:
        return FittedCopies(self.shown, self.scores[:, at : at + 1], self.weights)


@dataclass(frozen=True, eq=False)
class Surrogate:
    """`b + sum_k a_k z_k + sum_kl c_kl (z_k - m_k)(z_l - m_l)`, with m the mean coalition: for T targets at once.

    The products are of centred columns, so that main effects stay what they are without pairs where coalitions are balanced.
    main: a (K, T); joint: c (P, T); intercept: b (T,); pairs: (P, 2) int64; middle: m (K,).
    """

    main: Tensor
    joint: Tensor
    intercept: Tensor
    pairs: Tensor
    middle: Tensor

    @classmethod
    def fit(cls, copies: FittedCopies, pairs: Tensor, penalty: float) -> Surrogate:
        """Weighted ridge regression; the intercept has no penalty."""
        share = copies.weights / copies.weights.sum()
        middle = share @ copies.shown.double()
        columns = columns_of(copies.shown, pairs, middle)
        found = ridge_fit(columns, copies.scores, copies.weights, penalty)
        intercept = share @ copies.scores - (share @ columns) @ found
        count = copies.shown.shape[1]
        return cls(found[:count], found[count:], intercept, pairs, middle)

    def scores(self, shown: Tensor) -> Tensor:
        """What it says of coalitions (n, K): (n, T)."""
        return self.intercept + columns_of(shown, self.pairs, self.middle) @ torch.cat([self.main, self.joint])

    def r2(self, copies: FittedCopies) -> Tensor:
        """The share of the copies' variance that it tells (T,), weighted; NaN where there is none."""
        share = (copies.weights / copies.weights.sum())[:, None]
        spread = (share * (copies.scores - (share * copies.scores).sum(dim=0)).square()).sum(dim=0)
        missed = (share * (copies.scores - self.scores(copies.shown)).square()).sum(dim=0)
        return torch.where(spread > CONSTANT, 1 - missed / spread.clamp_min(CONSTANT), torch.nan)


def columns_of(shown: Tensor, pairs: Tensor, middle: Tensor) -> Tensor:
    """Coalitions (n, K), then the products of centred columns, (n, K + P), float64."""
    plain = shown.double()
    centred = plain - middle
    return torch.cat([plain, centred[:, pairs[:, 0]] * centred[:, pairs[:, 1]]], dim=1)


def ridge_fit(features: Tensor, scores: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """Coefficients (K, T) of weighted ridge regressions of scores (n, T) on features (n, K), with an intercept without
    penalty."""
    share = (weights / weights.sum())[:, None]
    centred = features - (share * features).sum(dim=0)
    outcomes = scores - (share * scores).sum(dim=0)
    gram = centred.T @ (weights[:, None] * centred) + penalty * torch.eye(features.shape[1], dtype=features.dtype)
    # The pseudo-inverse: without a penalty, few copies leave the coefficients open, and the smallest are taken.
    inverse: Tensor = torch.linalg.pinv(gram, hermitian=True)
    return inverse @ (centred.T @ (weights[:, None] * outcomes))


def touching(labels: Tensor) -> Tensor:
    """The pairs (P, 2) of segments that have a border in common, from labels (H, W)."""
    beside = torch.stack([labels[:, :-1].flatten(), labels[:, 1:].flatten()], dim=1)
    below = torch.stack([labels[:-1].flatten(), labels[1:].flatten()], dim=1)
    both = torch.cat([beside, below]).sort(dim=1).values
    return both[both[:, 0] != both[:, 1]].unique(dim=0)


def among_strongest(effects: Tensor, most: int) -> Tensor:
    """All pairs (P, 2) of the `most` segments with the largest effects (K,), by absolute value."""
    strongest = effects.abs().argsort(descending=True, stable=True)[:most].sort().values
    return torch.combinations(strongest, 2)


def places(labels: Tensor) -> Tensor:
    """For each segment the place of its own pixel nearest to its middle, (K, 2): row and column in shares of the sides."""
    height, width = labels.shape
    found = []
    for one in range(int(labels.max()) + 1):
        pixels = (labels == one).nonzero().double()
        nearest = (pixels - pixels.mean(dim=0)).square().sum(dim=1).argmin()
        found.append((pixels[nearest] + 0.5) / torch.tensor([height, width]))
    return torch.stack(found)


def interactions_of(
    method: SurrogateMethod,
    photos: Coalitions,
    copies: Sequence[FittedCopies],
    effects: Sequence[Tensor],
    seeds: Tensor,
    penalty: float,
) -> dict[str, Tensor]:
    """The extras of maps whose pairs are asked for: `pairs` and the shares of variance that are told with and without them.

    effects: the main effects (K, T) of each photo, which choose the strongest.
    """
    most = method.most_pairs(segment_count(method.n_segments, photos.classifier.view))
    rows, shares = [], []
    for own, main, labels, seed in zip(copies, effects, photos.labels, seeds.tolist(), strict=True):
        at, touch = places(labels.cpu()), touching(labels.cpu())[:most]
        held = torch.zeros(len(own.shown), dtype=torch.bool)
        held[torch.from_numpy(stream(seed, "held out").permutation(len(held))[: round(HELD_OUT * len(held))])] = True
        for target in range(main.shape[1]):
            pairs = touch if method.interactions == "adjacent" else among_strongest(main[:, target], method.top_m)
            weights, told = compare(own.of_target(target), pairs, held, penalty)
            rows.append(pair_rows(pairs, weights, at, most))
            shares.append(told)
    shape = photos.chosen.classes.shape
    names = ("r2_additive", "r2_pairwise", "r2_held_out", "r2_gain")
    told_of = dict(zip(names, torch.stack(shares).T.float(), strict=True))
    return {PAIRS: torch.stack(rows).unflatten(0, shape), **{name: part.unflatten(0, shape) for name, part in told_of.items()}}


def compare(copies: FittedCopies, pairs: Tensor, held: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights (P,) of one target's pairs, and R2 (4,): additive and pairwise over all copies; pairwise over those held out from
    the fit, and by how much that is more than the additive one's. NaN where there are too few copies to tell."""
    if len(copies.shown) < copies_needed(copies.shown.shape[1], len(pairs)):
        return torch.full((len(pairs),), torch.nan), torch.full((4,), torch.nan)
    none = pairs[:0]
    additive, pairwise = (Surrogate.fit(copies, which, penalty) for which in (none, pairs))
    seen, unseen = copies.at(~held), copies.at(held)
    before, after = (Surrogate.fit(seen, which, penalty).r2(unseen) for which in (none, pairs))
    return pairwise.joint[:, 0], torch.cat([additive.r2(copies), pairwise.r2(copies), after, after - before])


def pair_rows(pairs: Tensor, weights: Tensor, at: Tensor, most: int) -> Tensor:
    """Pairs as rows (most, 7) of `SegmentPair`, the last ones NaN."""
    rows = torch.full((most, COLUMNS), torch.nan)
    found = torch.cat([pairs, at[pairs[:, 0]], at[pairs[:, 1]], weights[:, None]], dim=1)
    rows[: len(found)] = found.float()
    return rows
