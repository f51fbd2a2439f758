"""What training has learned of a network and a metric: the context of a photo, and beliefs about the arms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.methods.bee.bandit import Beliefs

REMEMBERED = 1024
"""Scores among which training ranks a new one."""


class Prior(nn.Module):
    """The context of a photo, `c = W f / |W f|` with f the means of a layer's channels over its places, and the beliefs.

    Buffers: means and precisions (A, d); the latest scores of training, `scored` in all, of `pulls`; the bank: features of the
    first photos, `banked` of them.
    """

    means: Tensor
    precisions: Tensor
    scores: Tensor
    scored: Tensor
    pulls: Tensor
    bank: Tensor
    banked: Tensor

    def __init__(self, arms: int, channels: int, dimension: int, precision: float, bank: tuple[int, ...]) -> None:
        super().__init__()
        self.context = nn.Linear(channels, dimension)
        self.register_buffer("means", torch.zeros(arms, dimension, dtype=torch.float64))
        self.register_buffer("precisions", torch.full((arms, dimension), float(precision), dtype=torch.float64))
        self.register_buffer("scores", torch.zeros(REMEMBERED, dtype=torch.float64))
        self.register_buffer("scored", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pulls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("bank", torch.zeros(bank))
        self.register_buffer("banked", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """The context (d,) of features (K, h, w), of length 1."""
        return functional.normalize(self.context(features.float().mean(dim=(1, 2))), dim=0)

    @property
    def beliefs(self) -> Beliefs:
        return Beliefs(self.means.cpu().numpy().copy(), self.precisions.cpu().numpy().copy())

    def believe(self, beliefs: Beliefs) -> None:
        self.means.copy_(torch.from_numpy(beliefs.means))
        self.precisions.copy_(torch.from_numpy(beliefs.precisions))

    def remember(self, score: float) -> list[float]:
        """Count a pull and keep its score, if it has one; all that are known, itself included."""
        if not math.isnan(score):
            self.scores[int(self.scored) % REMEMBERED] = score
            self.scored += 1
        self.pulls += 1
        known: list[float] = self.scores[: int(self.scored)].tolist()
        return known

    def keep(self, features: Tensor) -> None:
        """Keep a photo's features (K, h, w) as a baseline for others, while there is room."""
        if int(self.banked) < len(self.bank):
            self.bank[int(self.banked)] = features.float()
            self.banked += 1

    @property
    def photos(self) -> Tensor | None:
        """The features of other photos (n, K, h, w); None without any."""
        return self.bank[: int(self.banked)] if int(self.banked) else None

    def described(self) -> dict[str, Any]:
        """The arguments that build this module again."""
        return {
            "arms": self.means.shape[0],
            "channels": self.context.in_features,
            "dimension": self.context.out_features,
            "precision": 1.0,
            "bank": list(self.bank.shape),
        }
