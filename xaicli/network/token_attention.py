"""The attention of a vision transformer's blocks on its own tokens, and of the head that pools them, in one pass.

    with attribution_mode(classifier.torch_module):
        read = read_token_attention(classifier, inputs, "gae")
        read.logits, read.blocks, read.pool, read.layout

What is read of each is in `xaicli.network.attention`. The gradient of a score with respect to attention probabilities needs no
pass of its own: with T = A V the output of an attention, `dy/dA[n, m] = dy/dT[n] . V[m]`, head by head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.errors import RunError, UsageError
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.tokens import Axes, Layout

FAITHFUL = 1e-3
"""How far an attention that was read may be from what the network computed, of its largest output: rounding stays far below, a
mask, a norm or a bias that was missed is far above."""


@dataclass(frozen=True, eq=False)
class TokenAttention:
    """What a pass of B photos shows. blocks: attention of all N tokens on all, in order, whose outputs have a graph; pool:
    attention of learned queries on the tokens, by which the head reads them, None where it reads them as they are; layout: of the
    tokens; pooled: of those that the pool reads, which may have others in front; logits: (B, C), with the graph."""

    blocks: tuple[Attention, ...]
    pool: Attention | None
    layout: Layout
    pooled: Layout
    logits: Tensor

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return self.blocks if self.pool is None else (*self.blocks, self.pool)

    def gradients(self, score: Tensor, *, last: bool) -> list[Tensor]:
        """The gradients (B, heads, N, d) of one score a photo (B,) at the output of each of `attentions`; last: the graph is
        needed no more."""
        outputs = [attention.output for attention in self.attentions]
        found = torch.autograd.grad(score.sum(), outputs, retain_graph=not last, materialize_grads=True)
        return [gradient.float() for gradient in found]


def gradient_of_attention(attention: Attention, gradient: Tensor, rows: slice = slice(None)) -> Tensor:
    """dy/dA (B, heads, rows, M) of attention probabilities, from the gradient (B, heads, N, d) at their output."""
    return gradient[:, :, rows] @ attention.value.detach().float().transpose(-2, -1)


def read_token_attention(classifier: Classifier, inputs: Tensor, method: str) -> TokenAttention:
    """Pass the photos (B, 3, H, W), within `attribution_mode`; raises UsageError where tokens do not all attend to each other."""
    layout = classifier.default_layer.layout
    found: list[Attention] = []
    with reading_attention(classifier.torch_module, found.append, graft=True):
        logits = classifier(inputs.detach().clone())
    pool = found.pop() if found and found[-1].output.shape[-2] != found[-1].value.shape[-2] else None
    tokens = layout.prefix + layout.grid[0] * layout.grid[1] + layout.trailing
    expected = [(len(inputs), tokens, tokens)] * len(found)
    if layout.axes not in (Axes.TOKENS, Axes.TOKENS_FIRST) or not found or [shape_of(one) for one in found] != expected:
        raise refused(classifier.name, method)
    pooled = layout if pool is None else pooled_layout(layout, pool.value.shape[-2], len(pool.value) == len(inputs))
    if pooled is None:
        raise refused(classifier.name, method)
    for attention in found if pool is None else [*found, pool]:
        require_faithful(attention, classifier.name)
    return TokenAttention(tuple(found), pool, layout, pooled, logits)


def shape_of(attention: Attention) -> tuple[int, int, int]:
    """(photos, queries, keys) of an attention; windows count as photos."""
    return len(attention.output), attention.output.shape[-2], attention.value.shape[-2]


def pooled_layout(layout: Layout, keys: int, per_photo: bool) -> Layout | None:
    """The layout of the tokens that a pool reads: all of them, or the patches alone; None where it is neither."""
    patches = layout.grid[0] * layout.grid[1]
    if per_photo and keys == layout.prefix + patches + layout.trailing:
        return Layout(Axes.TOKENS, layout.grid, layout.prefix, layout.trailing)
    return Layout(Axes.TOKENS, layout.grid, keys - patches) if per_photo and keys == patches else None


def require_faithful(attention: Attention, name: str) -> None:
    """Raise RunError unless the attention that was read gives what the network computed, in its first row."""
    row = slice(0, 1)
    given = attention.output.detach()[:, :, row].float()
    made = attention.probabilities(row).detach() @ attention.value.detach().float()
    largest = given.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    off = float(((made - given).abs().amax() / largest).nan_to_num())
    if off > FAITHFUL:
        raise RunError(
            f"the attention read from {name} is off what it computes by {off:.1g}",
            expected=f"at most {FAITHFUL:g} of its largest",
        )


def refused(name: str, method: str) -> UsageError:
    return UsageError(
        f"{method} cannot be used with {name}",
        expected="a vision transformer in which every token attends to every token in each block",
        hint="Try grad-cam.",
    )


def to_map(relevance: Tensor, layout: Layout) -> Tensor:
    """One number a token (B, N) as a map of the patches (B, h, w)."""
    return Layout(Axes.TOKENS, layout.grid, layout.prefix, layout.trailing).to_grid(relevance[:, :, None])[:, 0]
