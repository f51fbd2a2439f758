"""How uncertain a network is of a photo: entropies of its probabilities over several passes, and their derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.outputs import Outputs


def entropy(probabilities: Tensor, outputs: Outputs) -> Tensor:
    """Entropy in nats (B,) of probabilities (B, C): of the classes, or summed over labels where each is right or not.

    `H = -sum_c p_c log p_c`, and 0 log 0 = 0; of labels `-sum_c (p_c log p_c + (1 - p_c) log(1 - p_c))`.
    """
    # At 0 the derivative would be infinite.
    smallest = torch.finfo(probabilities.dtype).tiny
    total = torch.special.entr(probabilities.clamp_min(smallest)).sum(dim=1)
    if outputs is Outputs.SIGMOID:
        total = total + torch.special.entr((1 - probabilities).clamp_min(smallest)).sum(dim=1)
    return total


def slope(probabilities: Tensor, outputs: Outputs) -> Tensor:
    """dH/dp (B, C) of the entropy at probabilities (B, C), up to a constant where they sum to 1."""
    smallest = torch.finfo(probabilities.dtype).tiny
    logs = probabilities.clamp_min(smallest).log()
    if outputs is Outputs.SIGMOID:
        return (1 - probabilities).clamp_min(smallest).log() - logs
    return -(logs + 1)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Of passes p_1 to p_T with mean p: total `H(p)`, data part `mean_t H(p_t)`, model part, their difference, 0 or more; (B,)
    each, in nats (Gal and Ghahramani 2016; Kendall and Gal 2017)."""

    total: Tensor
    data: Tensor

    @classmethod
    def of(cls, passes: Tensor, outputs: Outputs) -> Uncertainty:
        """passes: probabilities (T, B, C)."""
        data = torch.stack([entropy(one, outputs) for one in passes]).mean(dim=0)
        return cls(entropy(passes.mean(dim=0), outputs), data)

    @property
    def model(self) -> Tensor:
        return (self.total - self.data).clamp_min(0)
