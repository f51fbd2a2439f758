"""True attention, read while a network runs: probabilities, values and outputs of every attention, in the order of their runs.

    def receive(attention: Attention) -> None:
        ...  # attention.probabilities() is (B, heads, N, M); nothing is kept unless you keep it

    with attribution_mode(module), reading_attention(module, receive):
        logits = classifier(inputs)

Fused attention never makes its probabilities. So queries, keys and values are read where they enter it (after their norms and
rotary embeddings, with mask and scale), and the probabilities of the requested rows are computed from them. Attention that a
network writes out, as a softmax and a product with the values, is read at the softmax. This works for the networks of
torchvision, timm and transformers and for a user's own. The network's code and attributes are not touched.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xaicli.network.observe import observing

SOFTMAX = (functional.softmax, torch.softmax, Tensor.softmax)
PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)


@dataclass(eq=False)
class Attention:
    """One attention in one forward pass, N queries on M keys, usually the same tokens.

    name, module: the innermost module that ran it, by its dotted path; value: (B, heads, M, d); output: (B, heads, N, d), the
    probabilities times the value, before heads are joined and projected, part of the network's graph.
    """

    name: str
    module: nn.Module
    value: Tensor
    output: Tensor
    query: Tensor | None = field(default=None, repr=False)
    key: Tensor | None = field(default=None, repr=False)
    mask: Tensor | None = field(default=None, repr=False)
    causal: bool = False
    scale: float = 1.0
    written_out: Tensor | None = field(default=None, repr=False)
    """The probabilities, if the network computes them itself."""

    def probabilities(self, rows: slice | Tensor | None = None) -> Tensor:
        """Attention probabilities (B, heads, N, M), or of some queries alone, (B, heads, rows, M), in float32."""
        rows = slice(None) if rows is None else rows
        if self.written_out is not None:
            return self.written_out[:, :, rows].float()
        assert self.query is not None
        assert self.key is not None
        scores = self.query[:, :, rows].float() @ self.key.float().transpose(-2, -1) * self.scale
        queries, keys = self.query.shape[-2], self.key.shape[-2]
        if self.causal:
            allowed = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~allowed[rows], -math.inf)
        if self.mask is not None:
            mask = self.mask.expand(*self.mask.shape[:-2], queries, keys)[..., rows, :]
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(dim=-1)


Receive = Callable[[Attention], None]


@contextmanager
def reading_attention(module: nn.Module, receive: Receive, *, graft: bool = False) -> Iterator[None]:
    """Hand every attention of every forward pass inside the `with` to `receive`, as it runs.

    With `graft` the graph begins at the output of the first attention, unless a graph arrives there: so every `output` has a
    gradient in a frozen network too. The first axis of windowed attention counts windows, not photos; see `Attention.value`.
    """
    with observing(module) as seen:

        def where() -> tuple[str, nn.Module]:
            return (seen.running[-1].path, seen.running[-1].module) if seen.running else ("", module)

        with Reader(receive, where, graft):
            yield


class Reader(TorchFunctionMode):
    """Sees the operations of the network as they are called."""

    def __init__(self, receive: Receive, where: Callable[[], tuple[str, nn.Module]], graft: bool) -> None:
        super().__init__()
        self.receive, self.where, self.graft = receive, where, graft
        self.softmax: Tensor | None = None
        self.product: tuple[Tensor, Tensor] | None = None
        """Of written-out attention: queries, and keys as columns, the last product before the softmax."""
        self.last: Attention | None = None
        self.thread = threading.get_ident()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self.fused(func, *args, **kwargs)
        if func is functional.multi_head_attention_forward:
            return self.multi_head(func, args, kwargs)
        result = func(*args, **kwargs)
        if func in SOFTMAX and result.ndim == 4:
            self.softmax = result
        elif func in PRODUCTS and self.softmax is not None and args[0] is self.softmax:
            query, key = self.factors(self.softmax)
            self.softmax = None
            name, module = self.where()
            return self.hand_over(Attention(name, module, args[1], result, query, key, written_out=args[0]))
        elif func in PRODUCTS and result.ndim == 4:
            self.product = (args[0], args[1])
        return result

    def factors(self, probabilities: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Queries and keys of written-out attention, as far as a product of their shapes came before its softmax."""
        product, self.product = self.product, None
        if product is None or (*product[0].shape[:-1], product[1].shape[-1]) != probabilities.shape:
            return None, None
        return product[0], product[1].transpose(-2, -1)

    def fused(
        self,
        function: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Read a call of `scaled_dot_product_attention`."""
        output = function(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if enable_gqa and key.shape[-3] != query.shape[-3]:
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, dim=-3), value.repeat_interleave(times, dim=-3)
        name, module = self.where()
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return self.hand_over(Attention(name, module, value, output, query, key, attn_mask, is_causal, scale))

    def multi_head(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read a call of `multi_head_attention_forward`. No torch function mode sees inside it, so the fused attention that it
        calls is replaced by name, during this call and in this thread alone."""
        fused = functional.scaled_dot_product_attention

        def seen(*inner: Any, **settings: Any) -> Tensor:
            mine = threading.get_ident() == self.thread
            return self.fused(fused, *inner, **settings) if mine else fused(*inner, **settings)

        with patch.object(functional, "scaled_dot_product_attention", seen):
            output, weights = function(*args, **{**kwargs, "need_weights": False})
        if kwargs.get("need_weights", True) and self.last is not None:
            weights = self.last.probabilities().to(output.dtype)
            weights = weights.mean(dim=1) if kwargs.get("average_attn_weights", True) else weights
        return output, weights

    def hand_over(self, attention: Attention) -> Tensor:
        """Give an attention to `receive`; returns what the network goes on with."""
        self.last = attention
        if not self.graft:
            self.receive(attention)
            return attention.output
        if not attention.output.requires_grad:
            with torch.enable_grad():
                attention.output = attention.output.detach().clone().requires_grad_()
        self.receive(attention)
        # A copy: the network may work in place on what follows, and a leaf forbids that.
        return attention.output * 1
