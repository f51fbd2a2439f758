"""Grad-ECLIP (Zhao et al., 2024): values of patches, weighted by the class token's gradient and by likeness to its query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.attention import Attention
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.token_attention import TokenAttention, read_token_attention, to_map
from xaicli.network.tokens import Layout
from xaicli.targets import Targets

CLASS = 0
"""The place of the class token, or of a pool's query."""
PROJECTIONS = ("out_proj", "proj", "o_proj", "c_proj", "to_out.0", "output.dense")
"""The names that attentions give to the layer behind them, inside them or beside them."""


@dataclass(frozen=True, kw_only=True)
class GradECLIP(Method):
    """Grad-ECLIP: values of patches, weighted by the class token's gradient and by likeness to its query.

    `map[n] = relu(lambda[n] sum_d w_d v[n, d])`, `w = dy/dT[0]`: v (N, D) are the values of an attention, heads side by side, T
    its output before it is projected, row 0 the class token's, y the target's logit. `lambda` is the cosine of the class token's
    query and a patch's key over all heads, brought to 0 to 1 over the patches. It stands in the place of the softmax, so that a
    patch to which the class token hardly attends is not suppressed. Of several `blocks` the maps are added up. Where the
    head pools by an attention of its own, as SigLIP's does, that attention is taken, and its query in the place of the class
    token's. Maps are (B, T, h, w) on the grid of patches, at least 0.

    `qk=projected` compares query and keys behind the attention's output projection, bias included, as the authors' script for
    many photos does; their notebooks compare them as they are. The authors recompute the block's attention as one head; here the
    network stays as it predicts. Some patch always has lambda 0 and some other 1: judge by the values of a map, not by its
    colours. extras: `likeness` (B, T, h, w), lambda of the last attention.

    `xai explain cat.jpg --model hf:openai/clip-vit-base-patch32 --prompts "a cat,a dog" --method grad-eclip`
    """

    blocks: tuple[int, ...] = param((-1,), "which blocks are added up: 0 the first, -1 the last")
    use_lambda: bool = param(True, "weight patches by the likeness of query and key")
    qk: Literal["raw", "projected"] = param("raw", "compare query and keys as they are, or behind the projection", later=True)

    name = "grad-eclip"
    paper = "Zhao et al., ICML 2024, arXiv:2502.18816"
    needs = Needs.ATTENTION | Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with attribution_mode(classifier.torch_module):
            read = read_token_attention(classifier, inputs, self.name)
            attentions, layout = self.attentions(read, classifier.name)
            chosen = targets.resolve(read.logits)
            behind = [self.projection(attention, classifier) for attention in attentions]
            likeness = [like_the_query(*pair, layout) for pair in zip(attentions, behind, strict=True)]
            maps = []
            for index in range(targets.count):
                outputs = [attention.output for attention in attentions]
                score = chosen.scores[:, index].sum()
                gradients = torch.autograd.grad(score, outputs, retain_graph=index < targets.count - 1, materialize_grads=True)
                self.require_read(gradients[-1], read, classifier.name)
                found = zip(attentions, gradients, likeness, strict=True)
                maps.append(torch.stack([self.of_layer(*one, layout) for one in found]).sum(dim=0))
        extras = {"likeness": likeness[-1][:, None].expand(-1, targets.count, -1, -1)}
        return Maps(torch.stack(maps, dim=1), chosen.detached(), read.logits.detach(), extras)

    def attentions(self, read: TokenAttention, name: str) -> tuple[tuple[Attention, ...], Layout]:
        """The attentions that count, and the layout of their keys."""
        if read.pool is None and not read.layout.prefix:
            raise unread(name)
        own = read.blocks if read.pool is None else (read.pool,)
        for block in self.blocks:
            if not -len(own) <= block < len(own):
                found = f"grad-eclip: {name} has no block {block} with a query that its head reads"
                raise UsageError(found, expected=f"blocks from 0 to {len(own) - 1}")
        chosen = tuple(own[block] for block in sorted({block % len(own) for block in self.blocks}))
        if any(attention.query is None or attention.key is None for attention in chosen):
            raise UsageError(f"grad-eclip: the queries of {name} cannot be read", hint="Try gae.")
        return chosen, read.pooled

    def projection(self, attention: Attention, classifier: Classifier) -> nn.Module:
        """What query and keys pass before they are compared; raises UsageError where the projection is not found."""
        if self.qk == "raw":
            return nn.Identity()
        beside = classifier.torch_module.get_submodule(attention.name.rpartition(".")[0])
        width = attention.value.shape[1] * attention.value.shape[3]
        for holder in (attention.module, beside):
            parts = dict(holder.named_modules())
            found = next((parts[name] for name in PROJECTIONS if name in parts), None)
            if isinstance(found, nn.Linear) and found.in_features == width:
                return found
        raise UsageError(
            f"grad-eclip: the output projection of {attention.name} of {classifier.name} is not found", hint="Leave qk out."
        )

    def require_read(self, gradient: Tensor, read: TokenAttention, name: str) -> None:
        """Raise UsageError where the head reads patches, and not the class token."""
        if read.pool is None and bool(gradient.any()) and not bool(gradient[:, :, CLASS].any()):
            raise unread(name)

    def of_layer(self, attention: Attention, gradient: Tensor, likeness: Tensor, layout: Layout) -> Tensor:
        """The map (B, h, w) of one attention, from the gradient (B, heads, N, d) at its output."""
        weighted = (attention.value.detach().float() @ gradient[:, :, CLASS, :, None].float())[..., 0].sum(dim=1)
        values = to_map(weighted, layout)
        return (likeness * values if self.use_lambda else values).relu()


def like_the_query(attention: Attention, behind: nn.Module, layout: Layout) -> Tensor:
    """lambda (B, h, w): the cosine of the class token's query and each patch's key, both behind a layer, 0 for the least and 1
    for the most alike."""
    assert attention.query is not None
    assert attention.key is not None
    with torch.no_grad():
        query, key = (
            behind(side_by_side(part.detach().float())) for part in (attention.query[:, :, CLASS : CLASS + 1], attention.key)
        )
    return to_range(to_map(functional.cosine_similarity(query, key, dim=2, eps=1e-12), layout))


def side_by_side(heads: Tensor) -> Tensor:
    """(B, heads, N, d) as (B, N, heads d)."""
    return heads.transpose(1, 2).flatten(2)


def to_range(cosine: Tensor) -> Tensor:
    """(B, h, w) brought to 0 to 1, each photo for itself; 1 everywhere where all are alike."""
    low, high = cosine.amin(dim=(1, 2), keepdim=True), cosine.amax(dim=(1, 2), keepdim=True)
    flat = low == high
    return torch.where(flat, 1.0, (cosine - low) / torch.where(flat, 1.0, high - low))


def unread(name: str) -> UsageError:
    return UsageError(
        f"grad-eclip cannot be used with {name}, whose head averages patches and reads no class token",
        expected="a vision transformer whose head reads a class token, or pools by an attention of its own",
        hint="Try gae.",
    )
