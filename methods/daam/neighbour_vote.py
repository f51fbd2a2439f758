"""The importance of each feature of a photo, from its nearest neighbours in a memory bank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.models.feature_bank import Bank


@dataclass(frozen=True, eq=False)
class Vote:
    """The vote of the nearest neighbours of B photos: weights (B, D) of their features, the winning class (B,), and how many
    neighbours (B,) of that class the weights are made from."""

    weights: Tensor
    winner: Tensor
    kept: Tensor


def vote(features: Tensor, bank: Bank, *, k: int, temperature: float, unit: bool) -> Vote:
    """The importance of each feature (B, D), by the neighbours that agree on the photo's class.

    The k nearest rows vote for their class by exp(similarity / temperature); of those of the class that wins, the mean product
    with the photo's own features, over the magnitude of its sum. With `unit` brought to 0 to 1, as the authors' code does: then
    the least important feature counts nothing.
    """
    own = functional.normalize(features.detach().cpu().float(), dim=1)
    # A photo without finite features has no neighbours; it is refused later, by its logits.
    own = own.nan_to_num()
    near, places = (own @ bank.features.T).topk(min(k, len(bank.features)), dim=1)
    labels = bank.labels[places]
    chances = ((near - near[:, :1]) / temperature).exp()
    votes = torch.zeros(len(own), len(bank.classes)).scatter_add_(1, labels, chances)
    winner = votes.argmax(dim=1)
    agree = (labels == winner[:, None]).float()
    kept = agree.sum(dim=1)
    mean = torch.einsum("bk,bkd->bd", agree, bank.features[places]) / kept[:, None]
    weights = over_its_sum(own * mean)
    return Vote(unit_columns(weights) if unit else weights, winner, kept)


def over_its_sum(weights: Tensor) -> Tensor:
    """Weights (B, D) divided by the magnitude of their sum, unless that is zero."""
    total = weights.sum(dim=1, keepdim=True).abs()
    return weights / torch.where(total == 0, 1.0, total)


def unit_columns(weights: Tensor) -> Tensor:
    """Weights (B, D) scaled to 0..1; all ones if they are equal."""
    low, high = weights.amin(dim=1, keepdim=True), weights.amax(dim=1, keepdim=True)
    flat = low == high
    return torch.where(flat, 1.0, (weights - low) / torch.where(flat, 1.0, high - low))
