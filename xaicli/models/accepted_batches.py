"""Batches for programs that accept only some batch sizes: a fixed one, or a range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def in_batches(forward: Callable[[Tensor], Any], inputs: Tensor, least: int = 1, most: int | None = None) -> Any:
    """`forward` on all inputs (B, ...), in parts of `least` to `most`; a short part is padded, and the outputs of the padding are
    dropped.

    Returns the outputs (B, ...); an output that is not a tensor is returned unchanged, for the caller to refuse.
    """
    rows = []
    for part in torch.split(inputs, most or max(len(inputs), 1)):
        missing = least - len(part)
        filled = part if missing <= 0 else torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
        output = forward(filled)
        if not isinstance(output, Tensor):
            return output
        rows.append(output[: len(part)])
    return torch.cat(rows) if len(rows) > 1 else rows[0]
