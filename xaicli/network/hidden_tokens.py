"""Attention that does not see some of a network's tokens: what leaving them out is checked against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.network.attention import SOFTMAX, Attention, Reader


@contextmanager
def hiding_tokens(module: nn.Module, seen: Tensor) -> Iterator[None]:
    """Let every attention on N keys inside the `with` see those alone where `seen` (N,) is True; other attention is as ever."""

    def where() -> tuple[str, nn.Module]:
        return "", module

    with Hider(lambda attention: None, where, False, seen):
        yield


class Hider(Reader):
    """Puts a mask on attention as it is called: fused, of torch's own module, or written out as a softmax."""

    def __init__(self, receive: Any, where: Any, graft: bool, seen: Tensor) -> None:
        super().__init__(receive, where, graft)
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        scores = args[0] if func in SOFTMAX and args else None
        if scores is not None and scores.ndim == 4 and scores.shape[-1] == len(self.seen):
            return func(scores.masked_fill(~self.seen.to(scores.device), -math.inf), *args[1:], **(kwargs or {}))
        if func is functional.scaled_dot_product_attention or func is functional.multi_head_attention_forward:
            return super().__torch_function__(func, types, args, kwargs)
        return func(*args, **(kwargs or {}))

    def fused(
        self, function: Any, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **more: Any
    ) -> Tensor:
        if key.shape[-2] == len(self.seen):
            seen = self.seen.to(key.device).expand(*[1] * (key.ndim - 1), -1)
            if attn_mask is None or attn_mask.dtype == torch.bool:
                attn_mask = seen if attn_mask is None else attn_mask & seen
            else:
                attn_mask = attn_mask.masked_fill(~seen, -math.inf)
        output: Tensor = function(query, key, value, attn_mask, *rest, **more)
        return self.hand_over(Attention("", self.where()[1], value, output))
