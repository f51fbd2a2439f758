"""Score-CAM: channels weighted by the score of the photo seen through each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.taps import tap
from xaicli.network.weighted_sum import weighted_sum
from xaicli.passes.queue import CopyJob, run
from xaicli.passes.upsampling import upsample
from xaicli.targets import Resolved, Targets

SMALLEST_SPAN = 1e-12
"""A channel with a smaller range of values counts as constant, since it would show nothing of the photo."""


@dataclass(frozen=True, kw_only=True)
class ScoreCAM(Method):
    """Score-CAM: channels weighted by the score of the photo seen through each of them.

    `map = relu(sum_k w_k A_k)` over the channels A_k of one layer. Each channel, upsampled and scaled to 0..1, masks the photo;
    the masked photo's logit y_k of the target gives the weights, `w = softmax over k of y_k`. This costs one forward pass per
    channel and no gradient. Maps are (B, T, h, w) at the layer's resolution. `score_form=authors` follows the authors' code:
    w_k is the target's probability, and channels are upsampled before they are summed, so that maps are (B, T, H, W). Constant
    channels have no weight. The scale of the logits changes the shape of the map.

    `top=N` passes only the N channels of the largest mean activation and leaves the others out of the sum: another definition, at
    N passes. `extras["left_out"]`, (B, T), is the share of the weight that the others would have had if each scored as the best
    of those passed: an upper bound of it as long as none scores higher.

    `xai explain cat.jpg --method score-cam`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    relu: bool = param(True, "keep the positive part only")
    score_form: Literal["paper", "authors"] = param("paper", "weights by the paper's definition, or by the authors' code")
    top: int | None = param(None, "channels that are passed, by their mean activation; all of them without", ge=1, later=True)

    name = "score-cam"
    paper = "Wang et al., CVPR Workshops 2020, arXiv:1910.01279"
    needs = Needs.FEATURES
    masks_input = True

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.relu else Sign.SIGNED

    def with_negative(self, keep: bool) -> ScoreCAM:
        return replace(self, relu=not keep)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        channels = 0 if classifier is None else classifier.feature_layer(self.layer).channels
        return Cost(forward=1 + (channels if self.top is None else min(self.top, channels or self.top)))

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with tap(classifier, self.layer, gradients=False) as features:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            activation = features.activation
        passes = [SeenThroughChannels(photo, channels, self.top) for photo, channels in zip(inputs, activation, strict=True)]
        scores: list[Tensor] = []

        def jobs() -> Iterator[CopyJob]:
            for row, photo in enumerate(passes):
                scores.append(torch.empty(len(photo.live), targets.count, device=inputs.device))
                yield photo.job(chosen, row, scores[-1], probability=self.score_form == "authors")

        shape = (inputs.shape[1], inputs.shape[2], inputs.shape[3])
        run(classifier, jobs(), shape, passes=sum(len(photo.live) for photo in passes), exact=False)
        maps = [self.map_of(photo, found, shape[1:]) for photo, found in zip(passes, scores, strict=True)]
        softmax, pairs = self.score_form == "paper", zip(passes, scores, strict=True)
        left_out = torch.stack([photo.weight_left_out(found, softmax=softmax) for photo, found in pairs])
        return Maps(torch.stack(maps), chosen, logits, {} if self.top is None else {"left_out": left_out})

    def map_of(self, passes: SeenThroughChannels, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (T, h, w), or (T, H, W), from the scores (live channels, T) of one photo."""
        activation = passes.channels[passes.live]
        if self.score_form == "paper":
            weights = scores.softmax(dim=0)
            return weighted_sum(weights.T[:, :, None, None], activation, relu=self.relu)
        # A sum of upsampled channels is the upsampled sum; negative values are dropped after that.
        maps = upsample(weighted_sum(scores.T[:, :, None, None], activation, relu=False), size)
        return maps.relu() if self.relu else maps


class SeenThroughChannels:
    """One photo (3, H, W) times each of its channels (K, h, w) that is not constant; of these the `top` with the largest mean."""

    def __init__(self, photo: Tensor, channels: Tensor, top: int | None = None) -> None:
        self.photo, self.channels = photo, channels
        spans = channels.amax(dim=(1, 2)) - channels.amin(dim=(1, 2))
        self.live = (spans > SMALLEST_SPAN).nonzero().flatten()
        self.others = 0 if top is None else max(0, len(self.live) - top)
        if self.others:
            order = channels[self.live].mean(dim=(1, 2)).argsort(descending=True, stable=True)
            self.live = self.live[order[:top].sort().values]

    def weight_left_out(self, scores: Tensor, *, softmax: bool) -> Tensor:
        """The share (T,) of the weight that channels which were not passed would have, each with the largest score (live, T).
        softmax: of weights by a softmax over the scores; otherwise the scores, probabilities, are the weights."""
        if not self.others:
            return scores.new_zeros(scores.shape[1])
        best = scores.amax(dim=0)
        relative = (scores - best).exp() if softmax else torch.where(best > 0, scores / best, 1)
        return self.others / (self.others + relative.sum(dim=0))

    def job(self, chosen: Resolved, row: int, scores: Tensor, *, probability: bool) -> CopyJob:
        """The masked copies of the photo `row`; their scores are written to `scores` (live channels, T)."""

        def write(out: Tensor, start: int, stop: int) -> None:
            masks = functional.interpolate(
                self.channels[self.live[start:stop], None], out.shape[2:], mode="bilinear", align_corners=False
            )
            low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
            torch.mul(self.photo, masks.sub_(low).div_((high - low).clamp_min(SMALLEST_SPAN)), out=out)

        def receive(logits: Tensor, start: int, stop: int) -> None:
            copies = chosen[torch.full((stop - start,), row, device=logits.device)]
            scores[start:stop] = copies.probability(logits) if probability else copies.logit(logits)

        return CopyJob(len(self.live), write, receive)
