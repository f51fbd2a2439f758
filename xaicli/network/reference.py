"""The embedding to which photos are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Reference:
    """features: (D,) of unit length; None reads embeddings as they are."""

    features: Tensor | None = None

    def read(self, embeddings: Tensor) -> Tensor:
        """Of embeddings (B, D) the cosine similarity and its negative, (B, 2), from -1 to 1."""
        if self.features is None:
            return embeddings
        similarity = functional.normalize(embeddings, dim=1) @ self.features
        return torch.stack([similarity, -similarity], dim=1)
