"""L-CAM: a map of each class by one 1 x 1 convolution on a frozen network's last features, trained by masking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.method import param
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.mask_training import MaskTask, MaskTraining
from xaicli.methods.tame.t_tame import TTAME
from xaicli.methods.tame.trained_attention import grids
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.nested import altering
from xaicli.network.taps import listening
from xaicli.network.tokens import Axes
from xaicli.task import Schedule, TaskOptions

BIAS_RATE = 2.0
"""Biases learn twice as fast as weights, as the authors have it."""
VGG, RESNET = "vgg", "resnet"
COMMON: dict[str, Any] = {"batch_size": 64, "weight_decay": 5e-4, "nesterov": True, "shape": "step", "decay": "all"}
RECIPES = {
    VGG: Schedule(epochs=8, lr=1e-2, gamma=0.75, milestones=tuple(epoch / 8 for epoch in range(1, 8)), **COMMON),
    RESNET: Schedule(epochs=26, lr=1e-4, gamma=0.95, milestones=tuple(epoch / 26 for epoch in range(1, 13)), **COMMON),
}
"""By the authors' two networks: the learning rate is multiplied by gamma after each of the first epochs."""


@dataclass(frozen=True, kw_only=True)
class LCAMTraining(MaskTraining):
    """How L-CAM is trained."""

    mode: Literal["img", "fm"] = param("img", "what the map masks in training: the photo, or the features it was made from")
    tap: Literal["last", "after_pool"] = param("last", "features that are read: the last ones, or the pool after them")
    recipe: Literal["auto", "vgg", "resnet"] = param("auto", "schedule of the authors' two networks; auto: vgg for a VGG")
    reference: int | None = param(64, "batch size that the loss weights are meant for; none: the batch size of the run", ge=1)

    name = "l-cam"

    def schedule(self, classifier: Classifier) -> Schedule:
        vgg = any(type(part).__name__ == "VGG" for part in classifier.torch_module.modules())
        kind = (VGG if vgg else RESNET) if self.recipe == "auto" else self.recipe
        return RECIPES[kind]


@dataclass(frozen=True, kw_only=True)
class LCAM(TTAME):
    """L-CAM: class maps of one 1 x 1 convolution on the last features, trained to keep the masked photo's decision.

    `map_c = scaled(b_c + sum_k W_ck F_k)`: F_k are the channels of the network's last feature map, W and b were trained once
    for the network, on photos without labels (`xai train l-cam`). In training the sigmoid of the map of the decided class masks
    the photo (`mode=img`), or the features F themselves (`mode=fm`), and the network shall decide as before; maps shall be small
    and smooth. It is for convolutional networks, which stay as they are. No checkpoint ships with the package, so no scores are
    shown. The map of a contrast A-B is that of A less that of B. Maps are (B, T, h, w) at the last features' resolution.

    `xai explain cat.jpg --model resnet50 --method l-cam@checkpoint=my-lcam.safetensors`
    """

    name = "l-cam"
    paper = "Gkartzonika, Gkalelis and Mezaris, ECCV 2022 Workshops, arXiv:2209.11189"
    training = LCAMTraining

    def task(self, classifier: Classifier, options: TaskOptions) -> LCAMTask:
        return LCAMTask(classifier, LCAMTraining.from_text(dict(options.parameters)))


class LCAMTask(MaskTask):
    """One convolution on one layer of the classifier itself."""

    name = "l-cam"

    def __init__(self, classifier: Classifier, training: LCAMTraining) -> None:
        if not classifier.provides & Needs.GRADIENTS:
            raise UsageError(f"l-cam is trained through the network, and {classifier.name} is a black box")
        self.mode, self.variant = training.mode, training.mode
        self.layer = layer_of(classifier, training)
        super().__init__(classifier, training, AttentionHead([self.layer.channels], classifier.count, branches=False))
        self.schedule = training.schedule(classifier)

    def rate_of(self, name: str) -> float:
        return BIAS_RATE if name.endswith(".bias") else 1.0

    def features_and_logits(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        with listening([self.layer]) as features:
            logits = self.classifier(inputs)
            return grids(features), logits

    def decided(self, inputs: Tensor, maps: Tensor) -> Tensor:
        if self.mode == "img":
            return super().decided(inputs, maps)
        with masking(self.layer, maps):
            return self.classifier(inputs)

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "layers": [str(self.layer)], "mode": self.mode}


def layer_of(classifier: Classifier, training: LCAMTraining) -> FeatureLayer:
    """The layer whose features are read; raises UsageError where it is none of a convolutional network."""
    if training.layers != "auto" and len(training.layers) != 1:
        raise UsageError(f"l-cam reads one layer, not {len(training.layers)}", hint="Take t-tame for several.")
    layer = classifier.feature_layer() if training.layers == "auto" else classifier.stages(training.layers)[0]
    if training.tap == "after_pool":
        (layer,) = classifier.stages((pool_after(classifier, layer),))
    if layer.layout.axes is not Axes.CHANNELS_FIRST or layer.call is not None:
        found = f"l-cam is for convolutional networks, and {classifier.name} has no map of features at layer {layer}"
        raise UsageError(found, hint="Train t-tame instead.")
    return layer


def pool_after(classifier: Classifier, layer: FeatureLayer) -> str:
    """The name of the first pool that runs after a layer."""
    names = list(classifier.trace.layers)
    for name in names[names.index(layer.name) + 1 :]:
        if isinstance(classifier.trace.layers[name].module, nn.MaxPool2d | nn.AvgPool2d):
            return name
    raise UsageError(f"tap=after_pool: {classifier.name} has no pool after {layer}", hint="Leave it out.")


@contextmanager
def masking(layer: FeatureLayer, maps: Tensor) -> Iterator[None]:
    """Inside the `with`, a layer's features (B, K, h, w) are multiplied by maps (B, h, w)."""

    def mask(features: Tensor) -> Tensor:
        rectified = features.relu() if layer.rectified else features
        return rectified * maps[:, None].to(features.dtype)

    with altering(layer.module, layer.side, mask):
        yield
