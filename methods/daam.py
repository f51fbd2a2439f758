"""DAAM (Liao, Gao and Zhang, 2025): what each patch gave to a vision transformer's class token, accumulated block by block."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from xaicli.errors import RunError, UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.borrowed import borrowed
from xaicli.network.classifier import Classifier
from xaicli.network.feature_bank import identity, read_bank, vote
from xaicli.network.tokens import Axes, Layout
from xaicli.passes.upsampling import unit_range
from xaicli.targets import DECISION, Targets

FAITHFUL, FAITHFUL_IN_HALF = 1e-5, 1e-3
"""How far the attention that was read may be from what the network computed, of its largest value: in float32, and in lower
precision. Rounding stays below (on a DeiT-Ti 1.6e-6 and, in float16, 3.5e-4); a mask, a norm or a bias that was missed is far
above."""

SMALLEST = 1e-30
logger = logging.getLogger("xaicli")
DIAGNOSTICS = ("identity_error", "prefix_mass", "contribution")


@dataclass(frozen=True, kw_only=True)
class DAAM(Method):
    """Dynamic accumulated attention: what each patch gave to the class token, block by block.

    The class token's row of a block's attention output, before it is projected, is the sum over all tokens n of
    S[n] = attention to n times the value of n (paper, eq. 7). Its patches are weighted by the gradient of the target at that
    sum: L[n] = relu(relu(C) . S[n]); the maps of blocks are added up from first to last. Maps are (B, T, h, w) on the grid of
    patches, in logits; only what flows to the class token directly is counted, so that they do not add up to the target.

    extras: `steps` (B, T, L, h, w), the accumulated maps of all L blocks, the last of which is the map. With `diagnostics`,
    each (B, T, L): `identity_error`, of the sum against the network's own, relative; `prefix_mass`, the share of attention that
    falls on class, distillation and register tokens; `contribution`, the class token's C . sum S.

    A network whose head reads the class and the distillation token has the rows of both. For a self-supervised network,
    `target=features` explains its outputs, taken as features, weighted by how much they matter: by the neighbours in a memory
    bank of the same network (`bank=FILE`, made by xai bank), or without a bank by their own squares. The paper's `mode` is
    called `target` here, and the normalisation of weights `weights`. Maps are made in one pass forward and one back, while
    gradients arrive; the form of two passes, for networks that save memory by running their blocks again, is not offered.
    """

    target: Literal["class", "features"] = param("class", "what is explained: a class, or the features of a network without head")
    bank: str | None = param(None, "with target=features: a memory bank made by xai bank")
    k: int = param(20, "with a bank: neighbours that vote", ge=1)
    temperature: float = param(0.07, "with a bank: a vote counts exp(similarity / temperature)", gt=0)
    weights: Literal["auto", "minmax", "sum", "self"] = param(
        "auto", "of features: by neighbours, 0 to 1 (minmax) or of sum 1 (sum), or their own squares; auto: minmax with a bank"
    )
    blocks: Literal["all"] | tuple[int, ...] = param("all", "which blocks are added up: 0 the first, -1 the last")
    rows: Literal["class", "patches"] = param(
        "class", "whose attention is followed: the class token's, or for heads that average patches, theirs"
    )
    clip_coeff: bool | None = param(None, "drop channels that speak against the target; none: for a class, not for features")
    clip_map: bool = param(True, "drop patches that speak against the target, in each block")
    block_norm: Literal["none", "minmax", "sum"] = param("none", "bring each block's map to one scale before they are added")
    diagnostics: bool = param(False, "also keep the diagnostics of each block")

    name = "daam"
    paper = "Liao, Gao and Zhang, Pattern Recognition 165 (2025) 111607, arXiv:2503.14640"
    needs = Needs.GRADIENTS | Needs.ATTENTION
    stepwise = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target == "class" and (self.bank is not None or self.weights != "auto"):
            given = "bank" if self.bank is not None else "weights"
            raise UsageError(f"daam: {given} has no meaning with target=class", hint="Write daam@target=features.")
        if self.bank is None and self.weights in ("minmax", "sum"):
            raise UsageError(f"daam: weights={self.weights} needs a bank", hint="Give bank=FILE, or weights=self.")
        if self.bank is not None and self.weights == "self":
            raise UsageError("daam: weights=self reads no bank", hint="Leave one of them out.")

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.clip_map or self.block_norm == "minmax" else Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass forward and one back for all blocks."""
        return Cost(forward=1, backward=1)

    def require(self, classifier: Classifier) -> None:
        """Warn where scores of classes would be taken for features."""
        if self.target == "features" and classifier.classes:
            logger.warning("%s is a classifier: its scores of classes are explained, not its features", classifier.name)

    def parameters_as_given(self) -> dict[str, Any]:
        """A bank counts by its content, not by the folder that it lies in."""
        given = super().parameters_as_given()
        return given if self.bank is None else {**given, "bank": identity(self.bank)}

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with closing(Flow(self, token_layout(classifier), len(inputs))) as flow, borrowed(classifier.torch_module):
            with reading_attention(classifier.torch_module, flow.take, graft=True):
                logits = classifier(inputs.detach().clone())
            chosen = targets.resolve(logits)
            scores, extras = (chosen.scores, {}) if self.target == "class" else self.feature_score(classifier, logits, targets)
            flow.require(classifier.name, scores)
            found = [flow.follow(scores[:, t], last=t == scores.shape[1] - 1) for t in range(scores.shape[1])]
            flow.require_faithful(classifier.name)
        steps = torch.stack([self.accumulated(maps) for maps, _ in found], dim=1)
        extras["steps"] = steps
        if self.diagnostics:
            for name in DIAGNOSTICS:
                extras[name] = torch.stack([told[name] for _, told in found], dim=1)
        return Maps(steps[:, :, -1], chosen.detached(), logits.detach(), extras)

    def feature_score(self, classifier: Classifier, logits: Tensor, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum (B, 1) of the features (B, D), each by its importance (paper, eq. 13), and what is recorded of it."""
        if any(rule != DECISION for rule in targets.rules):
            raise UsageError(
                f"daam@target=features explains all features, not target {targets.rules[0]}", hint="Leave --target out."
            )
        if self.bank is None:
            weights = functional.normalize(logits.detach(), dim=1).square()
            return (weights * logits).sum(dim=1, keepdim=True), {}
        bank = read_bank(self.bank)
        bank.require(classifier.fingerprint, classifier.name, logits.shape[1], self.bank)
        voted = vote(logits, bank, k=self.k, temperature=self.temperature, unit=self.weights != "sum")
        score = (voted.weights.to(logits.device) * logits).sum(dim=1, keepdim=True)
        return score, {"bank_class": voted.winner.float(), "neighbours_kept": voted.kept}

    def accumulated(self, maps: Tensor) -> Tensor:
        """Running sums (B, L, h, w) of the maps of blocks (B, L, h, w), clipped and normalised as the parameters say."""
        maps = maps.relu() if self.clip_map else maps
        if self.block_norm == "minmax":
            maps = unit_range(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        elif self.block_norm == "sum":
            total = maps.abs().sum(dim=(2, 3), keepdim=True)
            maps = maps / torch.where(total == 0, 1.0, total)
        return maps.cumsum(dim=1)


def token_layout(classifier: Classifier) -> Layout:
    """How the network's tokens are laid out; raises UsageError where its features are no tokens."""
    layout = classifier.default_layer.layout
    if layout.axes is not Axes.TOKENS:
        raise refusal(classifier.name, "has no tokens")
    return layout


def unread(name: str, rows: str) -> UsageError:
    """The refusal of a network whose head reads other tokens than those that were to be followed."""
    if rows == "patches":
        return UsageError(f"daam: the head of {name} reads no patches", hint="Leave rows=patches out.")
    return UsageError(
        f"daam cannot be used with {name}, whose head averages patches and reads no class token",
        hint="Write daam@rows=patches to follow the patches' own attention, a variant beyond the paper.",
    )


def refusal(name: str, why: str) -> UsageError:
    return UsageError(
        f"daam cannot be used with {name}, which {why}",
        expected="a vision transformer whose tokens all attend to each other, and whose head reads a class token",
        hint="Try grad-cam.",
    )


class Flow:
    """The attention of all blocks, caught in one forward pass, and their maps, made in one backward pass a target.

    No block keeps more than the pass itself does: probabilities are worked out for the rows that are followed when a block's
    gradient arrives, one scalar a head and token, and then the block is let go.
    """

    def __init__(self, daam: DAAM, layout: Layout, photos: int) -> None:
        self.daam, self.layout, self.photos = daam, layout, photos
        self.tokens = layout.prefix + layout.grid[0] * layout.grid[1]
        self.rows = slice(0, layout.prefix) if daam.rows == "class" else slice(layout.prefix, self.tokens)
        self.blocks: dict[int, Attention] = {}
        self.count = 0
        self.hooks: list[RemovableHandle] = []
        self.maps: dict[int, Tensor] = {}
        self.told: dict[int, dict[str, Tensor]] = {}
        self.read: Tensor | None = None
        self.others_read: Tensor | None = None
        self.faithful = FAITHFUL
        self.last = False

    def close(self) -> None:
        """Let go of all blocks: they and the graph hold each other through the hooks."""
        for hook in self.hooks:
            hook.remove()
        self.blocks.clear()

    def take(self, attention: Attention) -> None:
        """Keep an attention that is a block's: of all photos, every token on every token."""
        output = attention.output
        if (output.shape[0], output.shape[-2], attention.value.shape[-2]) != (self.photos, self.tokens, self.tokens):
            return
        if output.dtype in (torch.float16, torch.bfloat16):
            self.faithful = FAITHFUL_IN_HALF
        if output.requires_grad:
            self.hooks.append(output.register_hook(partial(self.arrive, self.count)))
        self.blocks[self.count] = attention
        self.count += 1

    def require(self, name: str, scores: Tensor) -> None:
        """Raise where there is nothing to follow: no block, no prefix token, no gradient, or a block that is not there."""
        if not self.blocks:
            raise refusal(name, "shows no attention of every token to every token")
        if self.layout.prefix == 0 and self.daam.rows == "class":
            raise unread(name, self.daam.rows)
        if not (scores.requires_grad and self.hooks):
            raise RunError(f"{name} passes no gradients to its blocks", hint="Use a method that needs the forward pass alone.")
        for block in () if self.daam.blocks == "all" else self.daam.blocks:
            if not -self.count <= block < self.count:
                raise UsageError(f"daam: {name} has no block {block}", expected=f"0 to {self.count - 1}")

    def require_faithful(self, name: str) -> None:
        """Raise where the head does not read the rows that were followed, or the attention is not what the network computed."""
        if self.read is not None and self.others_read is not None and self.others_read and not self.read.any():
            raise unread(name, self.daam.rows)
        worst = max((float(told["identity_error"].nan_to_num().max()) for told in self.told.values()), default=0.0)
        if worst > self.faithful:
            raise RunError(
                f"the attention read from {name} is off what it computes by {worst:.1g}",
                expected=f"at most {self.faithful:g}",
                hint="Its attention is of a kind that daam does not know, or its precision is lower than its type (TF32).",
            )

    def follow(self, score: Tensor, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps (B, L, h, w) of the blocks that count, for one score a photo (B,), and what is told of each block, (B, L)."""
        self.maps, self.read, self.last = {}, None, last
        torch.autograd.grad(score.sum(), self.blocks[0].output, retain_graph=not last, materialize_grads=True)
        wanted: Sequence[int] = range(self.count)
        if self.daam.blocks != "all":
            chosen = {block % self.count for block in self.daam.blocks}
            wanted = [block for block in wanted if block in chosen]
        # A block from which no path leads to the target gave nothing to it.
        nothing = torch.zeros(self.photos, *self.layout.grid, device=score.device)
        maps = torch.stack([self.maps.get(block, nothing) for block in wanted], dim=1)
        silent = dict.fromkeys(DIAGNOSTICS, torch.zeros(self.photos, device=score.device))
        told = [self.told.get(block, silent) for block in wanted]
        return maps, {name: torch.stack([one[name] for one in told], dim=1) for name in DIAGNOSTICS}

    def arrive(self, block: int, gradient: Tensor) -> None:
        """Make a block's map as the gradient (B, heads, N, d) at its attention's output arrives, the last block's first."""
        attention = self.blocks.pop(block) if self.last else self.blocks[block]
        if self.read is None:
            self.look_at(gradient)
        assert self.read is not None
        # Behind the last block tokens do not mix: rows without a gradient there are not read by the head.
        coefficients = gradient[:, :, self.rows].float() * self.read[:, None]
        values, probabilities = attention.value.detach().float(), attention.probabilities(self.rows).detach()
        sums = attention.output.detach()[:, :, self.rows].float()
        self.told[block] = self.look_into(probabilities, probabilities @ values, sums, coefficients)
        clip = self.daam.target == "class" if self.daam.clip_coeff is None else self.daam.clip_coeff
        coefficients = coefficients.relu() if clip else coefficients
        # One scalar a head, row and token; S itself, one a channel, is never made.
        products = probabilities * (coefficients @ values.transpose(-2, -1))
        self.maps[block] = products.sum(dim=(1, 2))[:, self.layout.prefix :].unflatten(1, self.layout.grid)

    def look_at(self, gradient: Tensor) -> None:
        """Which of the rows that are followed the head reads, as 0 or 1, seen where the gradient arrives first."""
        seen = ((gradient != 0) & gradient.isfinite()).any(dim=3).any(dim=1).any(dim=0)
        self.read = seen[self.rows].float()
        self.others_read = seen.any()

    def look_into(self, probabilities: Tensor, made: Tensor, sums: Tensor, coefficients: Tensor) -> dict[str, Tensor]:
        """The diagnostics of a block, each (B,): `made` from what was read, (B, heads, rows, d), ought to be `sums`."""
        assert self.read is not None
        error = (made - sums).abs().amax(dim=(1, 2, 3)) / sums.abs().amax(dim=(1, 2, 3)).clamp_min(SMALLEST)
        on_prefix = probabilities[..., : self.layout.prefix].sum(dim=-1).mean(dim=1) @ self.read / self.read.sum().clamp_min(1)
        return dict(zip(DIAGNOSTICS, (error, on_prefix, (coefficients * sums).sum(dim=(1, 2, 3))), strict=True))
