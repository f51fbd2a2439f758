"""LeGrad (Bousselham et al., 2025): the gradient of a block's own score with respect to its attention."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.layers import repeated_blocks
from xaicli.network.modes import attribution_mode
from xaicli.network.nested import first_tensor, replace_first_tensor
from xaicli.network.observe import Call, observing
from xaicli.network.suffix import answering
from xaicli.network.token_attention import TokenAttention, gradient_of_attention, read_token_attention, refused, to_map
from xaicli.network.tokens import Axes
from xaicli.passes.upsampling import unit_range
from xaicli.targets import NO_CLASS, Resolved, Targets


@dataclass(frozen=True, kw_only=True)
class LeGrad(Method):
    """LeGrad: how each block's own score would rise if more attention went to a patch, summed over blocks.

    `E_l[n] = mean over heads and queries of relu(ds_l / dA_l)[n]`, summed over the blocks l asked for: A_l (N, N) is a block's
    attention, s_l the target's logit that the head gives where it reads this block's tokens in the place of the last one's, their
    mean in the place of each (`pool=mean`, as the authors have it), or the tokens as they are (`pool=own`). Where the head pools
    by an attention of its own, as SigLIP's does, it reads the block's tokens, and A_l is its attention on them. The map is the
    gradient alone: it shows patches to which more attention would help, also where there is hardly any. Maps are (B, T, h, w) on
    the grid of patches, at least 0.

    The authors' text speaks of all blocks (`blocks=all`), their code takes the last two. Early blocks are read by a head that was
    not trained on them. `empty` is the index of a prompt without an object, "a photo of a", among the prompts: where its map,
    brought to 0 to 1, is above `threshold`, that of the target is set to 0, as the authors' code does for SigLIP. That erases
    objects to which the empty prompt responds.

    extras: `block_maps` (B, T, L, h, w), the maps E_l of the blocks, in their order; with `empty`, `erased` (B, T), the share of
    patches set to 0.

    `xai explain cat.jpg --model tiny-vit --method legrad`
    """

    blocks: Literal["all"] | tuple[int, ...] = param((-2, -1), "which blocks are added up: 0 the first, -1 the last")
    pool: Literal["mean", "own"] = param("mean", "what the head reads: the mean of a block's tokens, or the tokens as they are")

    empty: int | None = param(None, "index of a prompt without an object, whose map erases patches", ge=0, later=True)
    threshold: float = param(0.8, "of that map, from 0 to 1: patches above it are erased", ge=0, le=1, later=True)

    name = "legrad"
    paper = "Bousselham et al., ICCV 2025, arXiv:2404.03214"
    needs = Needs.ATTENTION | Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """The photo's pass, and one for each block, in which the blocks answer from memory and the head alone is run."""
        several = 2 if classifier is None else len(repeated_blocks(classifier.torch_module))
        blocks = several if self.blocks == "all" else len(self.blocks)
        return Cost(forward=1 + blocks, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with attribution_mode(classifier.torch_module):
            run = BlockScores(classifier, inputs, self.name)
            chosen = targets.resolve(run.read.logits.detach())
            asked = chosen if self.empty is None else and_class(chosen, self.empty)
            every = torch.stack([run.maps(block, asked, self.pool) for block in self.places(run)], dim=2)
        maps, extras = every[:, : targets.count], {}
        values = maps.sum(dim=2)
        if self.empty is not None:
            at = answered(every[:, -1].sum(dim=1), self.threshold)
            values = values.masked_fill(at, 0)
            extras["erased"] = at.float().mean(dim=(2, 3)).expand(-1, targets.count)
        return Maps(values, chosen.detached(), run.read.logits.detach(), {"block_maps": maps, **extras})

    def require(self, classifier: Classifier) -> None:
        if self.empty is not None and self.empty >= classifier.count:
            raise UsageError(f"legrad: empty={self.empty}", expected=f"a class from 0 to {classifier.count - 1}")

    def places(self, run: BlockScores) -> list[int]:
        """The blocks that are asked for, by their places from 0, in order."""
        count = len(run.read.blocks)
        wanted = range(count) if self.blocks == "all" else self.blocks
        for block in wanted:
            if not -count <= block < count:
                raise UsageError(f"legrad: {run.classifier.name} has no block {block}", expected=f"blocks from 0 to {count - 1}")
        return sorted({block % count for block in wanted})


class BlockScores:
    """One pass of some photos, what each block gave in it, and passes of the head alone on what a block gave."""

    def __init__(self, classifier: Classifier, inputs: Tensor, method: str) -> None:
        self.classifier, self.inputs = classifier, inputs
        module = classifier.torch_module
        rows = repeated_blocks(module)
        given: dict[str, Any] = {}

        def after(call: Call, args: object, kwargs: object, output: Any) -> None:
            if call.path in rows:
                given[call.path] = output

        with observing(module, after=after):
            self.read: TokenAttention = read_token_attention(classifier, inputs, method)
        names = [block_of(attention, rows) for attention in self.read.blocks]
        if "" in names or len(set(names)) < len(names):
            raise refused(classifier.name, method)
        self.modules = [module.get_submodule(name) for name in names]
        self.given = [given[name] for name in names]

    def maps(self, block: int, chosen: Resolved, pool: Literal["mean", "own"]) -> Tensor:
        """The maps (B, T, h, w) of one block: of the score that the head gives on its tokens."""
        if self.read.pool is not None:
            tokens = first_tensor(self.given[block])
            assert tokens is not None
            logits, attention = self.head(tokens.detach())
            layout = self.read.pooled
        else:
            attention, layout = self.read.blocks[block], self.read.layout
            logits, _ = self.head(self.tokens(block, pool))
        scores = chosen.logit(logits)
        assert attention is not None
        maps = []
        for index in range(scores.shape[1]):
            (gradient,) = torch.autograd.grad(scores[:, index].sum(), attention.output, retain_graph=True, materialize_grads=True)
            maps.append(to_map(positive_mean(gradient_of_attention(attention, gradient.float())), layout))
        return torch.stack(maps, dim=1)

    def tokens(self, block: int, pool: Literal["mean", "own"]) -> Tensor:
        """What the head is to read of a block, laid out as the block gives it. Where all tokens are alike, it reads the same of a
        class token, of several, or of the mean of patches."""
        tokens = first_tensor(self.given[block])
        assert tokens is not None
        axis = 0 if self.read.layout.axes is Axes.TOKENS_FIRST else 1
        return tokens.mean(dim=axis, keepdim=True).expand_as(tokens) if pool == "mean" else tokens

    def head(self, tokens: Tensor) -> tuple[Tensor, Attention | None]:
        """Logits (B, C) of what follows the blocks, for tokens in the place of the last block's, and the head's own attention."""
        found: list[Attention] = []
        with ExitStack() as stack:
            for module, given in zip(self.modules, self.given, strict=True):
                put = replace_first_tensor(given, lambda own: tokens if own.shape == tokens.shape else own)
                stack.enter_context(answering(module, lambda *_, answer=put, **__: answer))
            stack.enter_context(reading_attention(self.classifier.torch_module, found.append, graft=True))
            logits = self.classifier(self.inputs.detach())
        return logits, found[-1] if found else None


def answered(empty: Tensor, threshold: float) -> Tensor:
    """Where the map (B, h, w) of a prompt without an object is above a threshold, once brought to 0 to 1: (B, 1, h, w)."""
    return unit_range(empty)[:, None] > threshold


def and_class(chosen: Resolved, index: int) -> Resolved:
    """The targets (B, T), and a class behind them."""
    own = torch.full_like(chosen.classes[:, :1], index)
    return replace(
        chosen,
        classes=torch.cat([chosen.classes, own], dim=1),
        against=torch.cat([chosen.against, torch.full_like(own, NO_CLASS)], dim=1),
    )


def positive_mean(gradient: Tensor) -> Tensor:
    """relu of gradients (B, heads, N, M), mean over heads and queries, (B, M): the relu comes first."""
    return gradient.relu().mean(dim=(1, 2))


def block_of(attention: Attention, rows: set[str]) -> str:
    """The block that an attention belongs to: the innermost module around it that stands in a row of its like; empty if none."""
    steps = attention.name.split(".")
    paths = (".".join(steps[:count]) for count in range(len(steps), 0, -1))
    return next((path for path in paths if path in rows), "")
