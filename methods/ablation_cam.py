"""Ablation-CAM: channels weighted by how much the score falls without them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.suffix import Suffix, suffix
from xaicli.network.weighted_sum import weighted_sum
from xaicli.targets import Resolved, Targets

SMALLEST_SCORE = 1e-8


@dataclass(frozen=True, kw_only=True)
class AblationCAM(Method):
    """Ablation-CAM: channels weighted by the fall of the score when each is set to zero.

    `map = relu(sum_k w_k A_k)` with `w_k = (y - y_k) / |y|`: y is the target's logit, y_k the logit with channel k of the layer
    set to zero. `form=absolute` takes `w_k = y - y_k`, in logits. Maps are (B, T, h, w) at the layer's resolution. Only the
    part of the network behind the layer runs again, and only for channels that are not zero already. In a vision transformer a
    channel is set to zero at the patches; class and register tokens keep theirs. The method was made for activations behind a
    ReLU. Where they have both signs, as in vision transformers, a channel's weight does not say which sign speaks for the
    target, and the map is no better than a random map.

    `xai explain cat.jpg --method ablation-cam`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    relu: bool = param(True, "keep only what speaks for the target")
    form: Literal["relative", "absolute"] = param("relative", "fall of the score as a share of it, or in logits")

    name = "ablation-cam"
    paper = "Ramaswamy and Desai, WACV 2020"
    needs = Needs.FEATURES

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.relu else Sign.SIGNED

    def with_negative(self, keep: bool) -> AblationCAM:
        return replace(self, relu=not keep)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        if classifier is None:
            return Cost(forward=1)
        layer = classifier.feature_layer(self.layer)
        return Cost(forward=1 + layer.channels * layer.behind)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        layer = classifier.feature_layer(self.layer)
        # Refused before any work if the layer does not fit.
        targets.resolve(inputs.new_zeros(len(inputs), classifier.outputs.columns(classifier.count)))
        maps, logits = [], []
        for row, photo in enumerate(inputs.split(1)):
            with suffix(classifier, layer, photo) as rest:
                own = targets.photo(row).resolve(rest.logits)
                falls = falls_of(rest, layer, own, rest.copies_at_once(classifier.batch_size))
                if self.form == "relative":
                    falls = falls / (own.scores.abs() + SMALLEST_SCORE)
                activation = layer.to_grid(rest.activation)[0].float()
                maps.append(weighted_sum(falls.T[:, :, None, None], activation, relu=self.relu))
                logits.append(rest.logits)
        decided = torch.cat(logits)
        return Maps(torch.stack(maps), targets.resolve(decided), decided)


def falls_of(rest: Suffix, layer: FeatureLayer, chosen: Resolved, copies: int) -> Tensor:
    """The fall of each of T scores of one photo without each of K channels, (K, T); at most `copies` run at a time."""
    grid = layer.to_grid(rest.activation)[0]
    alive = grid.flatten(1).any(dim=1).nonzero().flatten()
    falls = torch.zeros(grid.shape[0], chosen.classes.shape[1], device=grid.device)
    for channels in alive.split(copies):
        rows = torch.arange(len(channels), device=grid.device)
        ablated = rest.activation.repeat(len(channels), *[1] * (rest.activation.ndim - 1))
        layer.to_grid(ablated)[rows, channels] = 0
        falls[channels] = chosen.scores - chosen[torch.zeros_like(rows)].logit(rest(ablated))
    return falls
