"""Grad-CAM and its relatives: activations of one layer, weighted by the gradient of the target, summed over channels.

The five methods differ only in the weights. Maps have the resolution of the layer, of several that of the finest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.taps import Features, gradients_at, tap_many
from xaicli.network.weighted_sum import weighted_sum
from xaicli.passes.upsampling import upsample
from xaicli.targets import Targets

SPACE = (-2, -1)
JOINED = "+"
"""The separator between names of several layers."""


@dataclass(frozen=True, kw_only=True)
class GradientCAM(Method):
    """What the five share: activations of one layer, weighted by the target's gradient there, summed over channels.

    Of several layers, `layer=A+B`, the maps are fused: each over its largest magnitude, enlarged to the finest, and their mean.
    extras: `largest_gradient` (B, T), the largest magnitude of the gradient at the layers. A map of zeros that has a gradient is
    one whose every cell speaks against the target.
    """

    layer: str = param("auto", "feature layer, or several joined by +; xai list layers --model SPEC shows the names")
    relu: bool = param(True, "keep only what speaks for the target")

    needs = Needs.GRADIENTS | Needs.FEATURES
    of_frames = True
    clean_pass_first = True

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.relu else Sign.SIGNED

    def with_negative(self, keep: bool) -> GradientCAM:
        return replace(self, relu=not keep)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Weights of channels (B, K, 1, 1), or of elements (B, K, h, w), from activations and gradients (B, K, h, w)."""
        raise TypeError(f"{type(self).__name__} declares no weights")

    def layers(self, classifier: Classifier) -> tuple[FeatureLayer, ...]:
        """The layers that are read, in the order in which they are named."""
        return tuple(classifier.feature_layer(name) for name in self.layer.split(JOINED))

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return tuple(map(str, self.layers(classifier)))

    def require(self, classifier: Classifier) -> None:
        """Raise UsageError for several layers of a network of sequences."""
        if classifier.view.frames and JOINED in self.layer:
            raise UsageError(f"{self.name}: several layers are for photos", expected="one layer for a sequence")

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        maps, largest = [], []
        layers = {str(layer): layer for layer in self.layers(classifier)}
        with tap_many(classifier.torch_module, layers) as taps:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            features = list(taps.values())
            for raw in gradients_at(features, chosen.scores):
                gradients = [tap.layer.to_grid(gradient).float() for tap, gradient in zip(features, raw, strict=True)]
                made = fused([self.map_of(tap, gradient) for tap, gradient in zip(features, gradients, strict=True)])
                maps.append(in_sequences(made, classifier.view.frames))
                largest.append(torch.stack([largest_of(gradient, len(inputs)) for gradient in gradients]).amax(dim=0))
        extras = {"largest_gradient": torch.stack(largest, dim=1)}
        return Maps(torch.stack(maps, dim=1), chosen.detached(), logits.detach(), extras)

    def map_of(self, features: Features, gradient: Tensor) -> Tensor:
        """The map (B, h, w) of one layer; (B, t, h, w) where its features are over time."""
        activation, time = features.activation, features.layer.layout.frames
        if time:
            # The parts of the time one below the other: a mean over places is then one over time too.
            activation, gradient = (part.unflatten(1, (-1, time)).flatten(2, 3) for part in (activation, gradient))
        made = weighted_sum(self.weights(activation, gradient), activation, relu=self.relu)
        return made.unflatten(1, (time, -1)) if time else made


def in_sequences(made: Tensor, frames: int) -> Tensor:
    """Maps of sequences (B, t, h, w): those of a network that reads frames one by one, (B frames, h, w), put together; maps of
    photos as they are."""
    return made.unflatten(0, (-1, frames)) if frames and made.ndim == 3 else made


def largest_of(gradient: Tensor, inputs: int) -> Tensor:
    """The largest magnitude of gradients (N, K, h, w) for each of the inputs, (B,)."""
    return gradient.abs().reshape(inputs, -1).amax(dim=1)


def fused(maps: Sequence[Tensor]) -> Tensor:
    """One map from several (B, h, w), one per layer: each is divided by its largest magnitude and enlarged to the finest
    resolution, then their mean is taken.

    A layer without influence on the score, such as another level of a pyramid, adds zeros. A single map is unchanged.
    """
    if len(maps) == 1:
        return maps[0]
    finest = max(((one.shape[1], one.shape[2]) for one in maps), key=lambda size: size[0] * size[1])
    scaled = []
    for one in maps:
        largest = one.abs().amax(dim=SPACE, keepdim=True)
        scaled.append(upsample(torch.where(largest > 0, one / largest, one), finest))
    return torch.stack(scaled).mean(dim=0)


@dataclass(frozen=True, kw_only=True)
class GradCAM(GradientCAM):
    """Grad-CAM: channels weighted by their mean gradient.

    `map = relu(sum_k w_k A_k)`, `w_k = mean over places of dy/dA_k`: A_k are the channels of one layer, y is the target's logit
    (paper, equations 1 and 2). Maps are (B, T, h, w) at the layer's resolution; `relu=false` keeps what speaks against the
    target. The first choice for a network with a late convolutional layer. Under global average pooling and a linear head the
    signed map is exact: its sum is the logit less the bias.

    `xai explain cat.jpg --method grad-cam`
    """

    name = "grad-cam"
    paper = "Selvaraju et al., ICCV 2017, arXiv:1610.02391"

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return gradient.mean(dim=SPACE, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class GradCAMPlusPlus(GradientCAM):
    """Grad-CAM++: positive gradients weighted by higher-order terms, for several objects of one class.

    `map = relu(sum_k w_k A_k)`, `w_k = sum over places of relu(g) g^2 / (2 g^2 + sum(A_k) g^3)`, `g = dy/dA_k`: A_k are the
    channels of one layer, y is the target's logit. Maps are (B, T, h, w) at the layer's resolution. The factor exp(y) of the
    paper, equal for all channels, is left out. The scale of the logits changes the shape of the map. The authors' code also
    divides the factors of `relu(g)` in a channel by their sum over places of positive gradient, which the paper does not say:
    `normalised=true`.

    `xai explain cat.jpg --method grad-cam++`
    """

    normalised: bool = param(
        False, "divide a channel's factors by their sum where its gradient is positive, as the authors' code", later=True
    )

    name = "grad-cam++"
    aliases = ("grad-cam-plus-plus",)
    paper = "Chattopadhay et al., WACV 2018, arXiv:1710.11063"

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        square = gradient**2
        below = 2 * square + activation.sum(dim=SPACE, keepdim=True) * square * gradient
        alpha = torch.where(below == 0, 0.0, square / torch.where(below == 0, 1.0, below))
        if self.normalised:
            total = (alpha * (gradient > 0)).sum(dim=SPACE, keepdim=True)
            alpha = torch.where(total == 0, alpha, alpha / torch.where(total == 0, 1.0, total))
        return (alpha * gradient.relu()).sum(dim=SPACE, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class XGradCAM(GradientCAM):
    """XGrad-CAM: gradients averaged in proportion to activations, so that channels keep their share of the score.

    `map = relu(sum_k w_k A_k)`, `w_k = sum(A_k dy/dA_k) / sum(A_k)`, sums over places: A_k are the channels of one layer, y is
    the target's logit. Maps are (B, T, h, w) at the layer's resolution. A channel whose activations cancel out has weight 0.
    The method was made for activations behind a ReLU. Where they have both signs, as in vision transformers, nearly cancelled
    channels get large weights, and the map says hardly more than a random map.

    `xai explain cat.jpg --method xgrad-cam`
    """

    name = "xgrad-cam"
    paper = "Fu et al., BMVC 2020, arXiv:2008.02312"

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        total = activation.sum(dim=SPACE, keepdim=True)
        cancels = total.abs() <= 1e-6 * activation.abs().sum(dim=SPACE, keepdim=True)
        share = (gradient * activation).sum(dim=SPACE, keepdim=True) / torch.where(cancels, 1.0, total)
        return torch.where(cancels, 0.0, share)


@dataclass(frozen=True, kw_only=True)
class LayerCAM(GradientCAM):
    """LayerCAM: every element weighted by its own positive gradient; also for early layers.

    `map = relu(sum_k relu(dy/dA_k) A_k)`, multiplied place by place: A_k are the channels of one layer, y is the target's
    logit. Maps are (B, T, h, w) at the layer's resolution.

    `xai explain cat.jpg --method layer-cam`
    """

    name = "layer-cam"
    paper = "Jiang et al., IEEE TIP 2021"

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return gradient.relu()


@dataclass(frozen=True, kw_only=True)
class HiResCAM(GradientCAM):
    """HiResCAM: gradient times activation; where the head is linear, the signed map divides the logit up exactly.

    `map = relu(sum_k dy/dA_k A_k)`, multiplied place by place: A_k are the channels of one layer, y is the target's logit. Maps
    are (B, T, h, w) at the layer's resolution, in logits. With one linear layer behind A, the signed map (`relu=false`) sums to
    the logit less the bias.

    `xai explain cat.jpg --method hirescam@relu=false`
    """

    name = "hirescam"
    paper = "Draelos and Carin, 2020, arXiv:2011.08891"

    def weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return gradient
