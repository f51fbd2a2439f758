"""DAAM (Liao, Gao and Zhang, 2025): what each patch gave to a vision transformer's class token, accumulated block by block."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.daam.attention_flow import DIAGNOSTICS, AttentionFlow, refusal
from xaicli.methods.daam.neighbour_vote import vote
from xaicli.models.feature_bank import identity, read_bank
from xaicli.network.attention import reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.tokens import Axes, Layout
from xaicli.passes.upsampling import unit_range
from xaicli.targets import DECISION, Targets

logger = logging.getLogger("xaicli")
TOLD: WeakSet[nn.Module] = WeakSet()
"""Networks of which it was said that not all of their blocks count."""


@dataclass(frozen=True, kw_only=True)
class DAAM(Method):
    """Dynamic accumulated attention: what each patch gave to the class token, block by block.

    Before it is projected, the class token's row of a block's attention output is a sum over all tokens n of
    `S[n] = attention to n * value of n` (paper, equation 7). A block's map is `L[n] = relu(relu(C) . S[n])`, with C the
    gradient of the target at that sum; the maps of all blocks are added up. Maps are (B, T, h, w) on the grid of patches, in
    logits. They count only what flows to the class token directly, so that they do not add up to the target's logit.

    extras: `steps` (B, T, L, h, w), the sum after each of the L blocks; the last one is the map. With `diagnostics`, each
    (B, T, L): `identity_error`, the relative difference of the sum and the network's own output; `prefix_mass`, the share of
    attention on class, distillation and register tokens; `contribution`, C . sum of S.

    Where the head reads the class and the distillation token, both rows count. For a self-supervised network, `target=features`
    explains its outputs as features. Each feature is weighted by how much it matters: by its neighbours in a memory bank of the
    same network (`bank=FILE`, made by `xai bank`), or without a bank by its own square. The paper's `mode` is called `target`
    here, its normalisation of weights is called `weights`. Maps are made in one forward and one backward pass. The variant with
    two passes, for networks that recompute their blocks to save memory, is not offered.

    `xai explain cat.jpg --model tiny-vit --method daam --steps`
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

    @property
    def of_all_features(self) -> bool:
        return self.target == "features"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass forward and one back for all blocks."""
        return Cost(forward=1, backward=1)

    def require(self, classifier: Classifier) -> None:
        """Warn if class scores would be used as features."""
        if self.target == "features" and classifier.classes:
            logger.warning("%s is a classifier: its scores of classes are explained, not its features", classifier.name)

    def parameters_as_given(self) -> dict[str, Any]:
        """A bank is identified by its content, not by its folder."""
        given = super().parameters_as_given()
        return given if self.bank is None else {**given, "bank": identity(self.bank)}

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        clip = self.target == "class" if self.clip_coeff is None else self.clip_coeff
        flow = AttentionFlow(token_layout(classifier), len(inputs), self.rows, self.blocks, clip=clip)
        with closing(flow), attribution_mode(classifier.torch_module):
            with reading_attention(classifier.torch_module, flow.receive, graft=True):
                logits = classifier(inputs.detach().clone())
            chosen = targets.resolve(logits)
            scores, extras = (chosen.scores, {}) if self.target == "class" else self.feature_score(classifier, logits, targets)
            flow.require(classifier.name, scores)
            self.say_how_many(flow, classifier)
            found = [flow.follow(scores[:, t], last=t == scores.shape[1] - 1) for t in range(scores.shape[1])]
            flow.require_faithful(classifier.name)
        steps = torch.stack([self.accumulated(maps) for maps, _ in found], dim=1)
        extras["steps"] = steps
        if self.diagnostics:
            for name in DIAGNOSTICS:
                extras[name] = torch.stack([told[name] for _, told in found], dim=1)
        return Maps(steps[:, :, -1], chosen.detached(), logits.detach(), extras)

    def say_how_many(self, flow: AttentionFlow, classifier: Classifier) -> None:
        """Warn, once for a network, where not all of its blocks count."""
        if flow.others and classifier.torch_module not in TOLD:
            TOLD.add(classifier.torch_module)
            rows, columns = flow.layout.grid
            text = "daam counts %d of the %d blocks of %s: those of every token to every token on its last grid, %d x %d"
            logger.warning(text, flow.count, flow.count + flow.others, classifier.name, rows, columns)

    def feature_score(self, classifier: Classifier, logits: Tensor, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum (B, 1) of the features (B, D), weighted by importance (paper, eq. 13), and what is recorded about it."""
        if not targets.rules or any(rule != DECISION for rule in targets.rules):
            asked = f"target {targets.rules[0]}" if targets.rules else "targets that were fixed before"
            raise UsageError(f"daam@target=features explains all features, not {asked}", hint="Leave --target out.")
        if self.bank is None:
            weights = functional.normalize(logits.detach(), dim=1).square()
            return (weights * logits).sum(dim=1, keepdim=True), {}
        bank = read_bank(self.bank)
        bank.require(classifier.weights_fingerprint, classifier.name, logits.shape[1], self.bank)
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
    """The layout of the network's tokens; raises UsageError if its features are not tokens."""
    layout = classifier.default_layer.layout
    if layout.axes is not Axes.TOKENS:
        raise refusal(classifier.name, "has no tokens")
    return layout
