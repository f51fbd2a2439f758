"""GAE (Chefer, Gur and Wolf, 2021): relevance handed on through attention, weighted by its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.attention import Attention
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.token_attention import TokenAttention, gradient_of_attention, read_token_attention, to_map
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class GAE(Method):
    """Generic attention explainability: relevance handed on through attention, weighted by its gradient.

    `R_0 = I, R_b = R_(b-1) + A'_b R_(b-1)`, `A'_b = mean over heads of relu(dy/dA_b A_b)`, place by place (paper, rules 5 and 6):
    A_b (N, N) is the attention of block b, y the target's logit or the difference of two. The map is the row of R of the token
    that the head reads, at the patches; of several such tokens the mean. Where the head pools by an attention of its own, its
    weighted row takes the place of that token. Maps are (B, T, h, w) on the grid of patches, at least 0, and do not add up to the
    target's logit.

    Only rows are handed on, from the last block to the first, so that no (N, N) matrix is kept. For CLIP the authors take the
    last block alone: `start_layer=-1`. Of a pair of prompts or classes A and B, A-B is no negative of B-A.

    `xai explain cat.jpg --model tiny-vit --method gae`
    """

    start_layer: int = param(0, "the first block that counts; -1 for the last alone, as the authors have it for CLIP")

    name = "gae"
    aliases = ("generic-attention-explainability",)
    paper = "Chefer, Gur and Wolf, ICCV 2021, arXiv:2103.15679"
    needs = Needs.ATTENTION | Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with attribution_mode(classifier.torch_module):
            read = read_token_attention(classifier, inputs, self.name)
            if not -len(read.blocks) <= self.start_layer < len(read.blocks):
                raise UsageError(
                    f"gae: {classifier.name} has no block {self.start_layer}",
                    expected=f"start_layer from {-len(read.blocks)} to {len(read.blocks) - 1}",
                )
            chosen = targets.resolve(read.logits)
            maps = []
            for index in range(targets.count):
                gradients = read.gradients(chosen.scores[:, index], last=index == targets.count - 1)
                maps.append(to_map(self.relevance(read, gradients), read.layout))
        return Maps(torch.stack(maps, dim=1), chosen.detached(), read.logits.detach())

    def relevance(self, read: TokenAttention, gradients: list[Tensor]) -> Tensor:
        """How much each token (B, N) gave to what the head reads, beside itself."""
        start = tokens_read(gradients[-1]) if read.pool is None else pool_row(read, gradients[-1])
        row = start
        first = self.start_layer % len(read.blocks)
        for attention, gradient in reversed(list(zip(read.blocks, gradients, strict=False))[first:]):
            row = handed_on(row, weighted(attention, gradient))
        # A token that is read stays itself, which is no relevance; what a pool reads of a patch is one.
        return row - start if read.pool is None else row


def weighted(attention: Attention, gradient: Tensor) -> Tensor:
    """relu(gradient times attention), mean over heads, (B, N, M); gradient: (B, heads, N, d), at the attention's output."""
    return positive_mean(attention.probabilities().detach(), gradient_of_attention(attention, gradient))


def positive_mean(attention: Tensor, gradient: Tensor) -> Tensor:
    """relu(gradient A), of attention and its gradient (B, heads, N, M), mean over heads: the relu comes before the mean."""
    return (attention * gradient).relu().mean(dim=1)


def handed_on(row: Tensor, relevance: Tensor) -> Tensor:
    """A row (B, N) of `R (I + A')`: the tokens' relevance one block further down."""
    return row + (row[:, None] @ relevance)[:, 0]


def tokens_read(gradient: Tensor) -> Tensor:
    """The weight (B, N) of each token in what the head reads: behind the last attention tokens do not mix, so that the gradient
    (B, heads, N, d) there is zero at all others."""
    read = (gradient != 0).any(dim=3).any(dim=1).float()
    return read / read.sum(dim=1, keepdim=True).clamp_min(1)


def pool_row(read: TokenAttention, gradient: Tensor) -> Tensor:
    """What the head's own attention reads of each token (B, N), weighted by its gradient; of several queries the mean."""
    assert read.pool is not None
    row = weighted(read.pool, gradient).mean(dim=1)
    before = read.layout.prefix - read.pooled.prefix
    behind = read.layout.trailing - read.pooled.trailing
    return torch.nn.functional.pad(row, (before, behind))
