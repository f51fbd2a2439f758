"""Attention rollout: attention multiplied up through all blocks of a vision transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.noise import noise
from xaicli.network.tokens import Axes
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(Method):
    """Attention rollout: attention multiplied up through all blocks of a vision transformer; the same for every target.

    `R_0 = I, R_l = (A_l R_(l-1) + R_(l-1)) / 2` (paper, section 3): A_l (N, N) is the attention of block l, pooled over its
    heads, with rows that sum to 1, which `heads=max` and `min` must make so again; the residual path counts as half. Known code
    sums rows up once the residual path is added (`renormalise=mixed`), where it counts as less beside a maximum and as more
    beside a minimum; under `heads=mean` the two are one. The map shows how much of each patch arrives at the tokens that the
    head reads: the class token, the class and distillation tokens, or all patches. The gradient of the logits tells which. Maps
    are (B, T, h, w) on the grid of patches, shares of 1.

    `xai explain cat.jpg --model tiny-vit --method attention-rollout`
    """

    heads: Literal["mean", "max", "min"] = param("mean", "how heads are pooled")
    renormalise: Literal["pooled", "mixed"] = param(
        "pooled",
        "when rows are made to sum to 1: once heads are pooled, or, as known code does, once the residual path is added",
        later=True,
    )

    name = "attention-rollout"
    aliases = ("rollout",)
    paper = "Abnar and Zuidema, ACL 2020, arXiv:2005.00928"
    needs = Needs.ATTENTION | Needs.GRADIENTS
    class_specific = False

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass of the photo, and a forward and backward pass on noise that shows which tokens the head reads."""
        return Cost(forward=2, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        layout = classifier.feature_layer().layout
        tokens = layout.prefix + layout.grid[0] * layout.grid[1]
        rollout = Rollout(self.heads, self.renormalise)
        with attribution_mode(classifier.torch_module), torch.no_grad(), reading_attention(classifier.torch_module, rollout.add):
            logits = classifier(inputs.clone())
        chosen = targets.resolve(logits)
        if layout.axes is not Axes.TOKENS or rollout.mixed is None or rollout.mixed.shape[1:] != (tokens, tokens):
            raise UsageError(
                f"attention-rollout cannot be used with {classifier.name}",
                expected="a vision transformer in which every token attends to every token in each block",
                hint="Try grad-cam.",
            )
        arriving = (tokens_read(classifier)[:, None] * rollout.mixed).sum(dim=1)
        maps = layout.to_grid(arriving[:, :, None])
        return Maps(maps.repeat(1, targets.count, 1, 1), chosen, logits)


class Rollout:
    """The product of all attentions so far: `mixed` (B, N, N), what each token holds of each patch; None if it makes no sense."""

    def __init__(self, heads: Literal["mean", "max", "min"], renormalise: Literal["pooled", "mixed"]) -> None:
        self.heads, self.renormalise = heads, renormalise
        self.mixed: Tensor | None = None
        self.broken = False

    def add(self, attention: Attention) -> None:
        pooled = pool(attention.probabilities(), self.heads)
        mixed = torch.eye(pooled.shape[2], device=pooled.device)[None] if self.mixed is None else self.mixed
        # Windows, attention of the class token alone, attention between channels: these cannot be multiplied up.
        self.broken = self.broken or pooled.shape[1:] != mixed.shape[1:] or len(mixed) not in (1, len(pooled))
        self.mixed = None if self.broken else mixed_in(pooled, mixed, self.renormalise)


def mixed_in(pooled: Tensor, mixed: Tensor, renormalise: Literal["pooled", "mixed"]) -> Tensor:
    """One block further: pooled attention (B, N, N) applied to what tokens hold (B, N, N), plus the residual path."""
    sums = pooled.sum(dim=2, keepdim=True)
    return (pooled / sums @ mixed + mixed) / 2 if renormalise == "pooled" else (pooled @ mixed + mixed) / (sums + 1)


def pool(probabilities: Tensor, heads: Literal["mean", "max", "min"]) -> Tensor:
    """Attention (B, heads, N, M) pooled over heads, (B, N, M)."""
    if heads == "mean":
        return probabilities.mean(dim=1)
    return probabilities.amax(dim=1) if heads == "max" else probabilities.amin(dim=1)


def tokens_read(classifier: Classifier) -> Tensor:
    """The weight (N,) of each token in the head's input, equal for all tokens that the head reads. After the last attention
    tokens do not mix, so the gradient of the logits there is zero at all other tokens."""
    found: list[Attention] = []
    with attribution_mode(classifier.torch_module), reading_attention(classifier.torch_module, found.append, graft=True):
        logits = classifier(noise(classifier.torch_module, classifier.view.size, classifier.view.channels))
        (gradient,) = torch.autograd.grad(logits.square().sum(), found[-1].output)
    read = gradient[0].abs().sum(dim=(0, 2)) > 0
    return read / read.sum()
