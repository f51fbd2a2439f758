"""Recipro-CAM (Byun and Lee, 2024): the score of each place of a feature map where it stands alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.modes import eval_mode
from xaicli.network.suffix import Suffix, suffix
from xaicli.network.tokens import Axes
from xaicli.passes.upsampling import unit_range
from xaicli.targets import Resolved, Targets

KERNEL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
NO_PROPOSAL = "%s: no place alone makes a proposal of confidence %g, so the map is constant; score=logit reads the class score"
Mask = Literal["auto", "delta", "gaussian", "gaussian-replicate"]
Score = Literal["auto", "softmax", "logit"]

logger = logging.getLogger("xaicli")


@dataclass(frozen=True, kw_only=True)
class ReciproCAM(Method):
    """Recipro-CAM: the score of each place of a feature map where it stands alone; without gradients.

    `S[i, j] = score(rest(F M_ij))`, brought to 0 to 1 over the map: F are the features of one layer, M_ij is 1 at the place alone
    (`mask=delta`), or a Gaussian of 3 x 3 places around it, cut at the border (`mask=gaussian`; `gaussian-replicate` puts the
    place's own features there), rest is what follows the layer. Maps are (B, T, h, w) at the layer's resolution, 0 to 1. Under
    global average pooling and a linear head the map of logits is CAM's.

    Vision transformers (ViT-ReciproCAM): patches are masked behind the norm that enters the last block's attention, where the
    head reads a class token, which stays as it is (`keep_class=false` sets it to 0); the way past the attention ends at the
    patches, and is not read. Where the head pools patches, they are masked before the pool. `auto`: delta and the probability for
    convolutional networks, gaussian and the logit for transformers, as the authors have it. A probability falls where a rival
    gains more. Of a box of a detector it is the similarity of its best proposal: where one place alone makes no proposal of the
    confidence that counts, that is 0 everywhere and the map is constant; `score=logit` reads the class score instead.

    extras: `scores` (B, T, h, w), S as it is.

    `xai explain cat.jpg --method recipro-cam`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    mask: Mask = param("auto", "what is kept around a place")
    score: Score = param("auto", "what is read: the probability, or the logit")
    keep_class: bool = param(True, "of a transformer: class and register tokens stay")

    name = "recipro-cam"
    aliases = ("vit-recipro-cam",)
    paper = "Byun and Lee, CVPRW 2024, arXiv:2209.14074; ViT: arXiv:2310.02588"
    needs = Needs.FEATURES

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        if classifier is None:
            return Cost(forward=1)
        layer = classifier.feature_layer(self.layer)
        return Cost(forward=1 + layer.layout.grid[0] * layer.layout.grid[1] * layer.behind)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        layer = classifier.feature_layer(self.layer)
        # What does not fit is refused before any work.
        targets.resolve(inputs.new_zeros(len(inputs), classifier.outputs.columns(classifier.count)))
        found, logits = [], []
        for row, photo in enumerate(inputs.split(1)):
            with eval_mode(classifier.module), suffix(classifier, layer, photo) as rest:
                own = targets.photo(row).resolve(rest.logits)
                found.append(self.scores(rest, layer, own, rest.copies_at_once(classifier.batch_size)))
                logits.append(rest.logits)
        scores, decided = torch.stack(found), torch.cat(logits)
        if classifier.boxes is not None and not bool(scores.any()):
            logger.warning(NO_PROPOSAL, self.label, classifier.boxes.floor)
        maps = unit_range(scores.flatten(0, 1)).unflatten(0, scores.shape[:2])
        return Maps(maps, targets.resolve(decided), decided, {"scores": scores})

    def scores(self, rest: Suffix, layer: FeatureLayer, chosen: Resolved, copies: int) -> Tensor:
        """S (T, h, w) of one photo, at most `copies` places at a time."""
        height, width = layer.to_grid(rest.activation).shape[2:]
        tokens = layer.layout.axes in (Axes.TOKENS, Axes.TOKENS_FIRST)
        mask = ("gaussian" if tokens else "delta") if self.mask == "auto" else self.mask
        score = ("logit" if tokens else "softmax") if self.score == "auto" else self.score
        masks = masks_of(mask, height, width).to(rest.activation)
        parts = []
        for places in torch.arange(height * width).split(copies):
            masked = rest.activation.repeat(len(places), *[1] * (rest.activation.ndim - 1))
            if tokens and not self.keep_class:
                clear_others(masked, layer)
            grid = layer.to_grid(masked)
            if mask == "gaussian-replicate":
                rows, columns = places // width, places % width
                grid.copy_(layer.to_grid(rest.activation)[0][:, rows, columns].T[:, :, None, None].expand_as(grid).clone())
            grid.mul_(masks[places][:, None])
            logits = rest(masked)
            own = chosen[torch.zeros(len(places), dtype=torch.int64, device=logits.device)]
            parts.append(own.probability(logits) if score == "softmax" else own.logit(logits))
        return torch.cat(parts).T.unflatten(1, (height, width)).float()


def masks_of(mask: Mask, height: int, width: int) -> Tensor:
    """One mask a place, row by row, (h w, h, w): 1 there alone, or a Gaussian of 3 x 3 cut at the border."""
    delta = torch.eye(height * width).unflatten(1, (height, width))
    if mask == "delta":
        return delta
    return torch.nn.functional.conv2d(delta[:, None], KERNEL[None, None], padding=1)[:, 0]


def clear_others(activations: Tensor, layer: FeatureLayer) -> None:
    """Set the tokens that are no patches to zero, in place."""
    patches = layer.to_grid(activations).clone()
    activations.zero_()
    layer.to_grid(activations).copy_(patches)
