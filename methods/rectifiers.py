"""Methods that change how gradients pass a ReLU: guided backpropagation, deconvolution, guided Grad-CAM (captum's, on a
twin).

captum's hooks sit on `nn.ReLU` modules. Networks with any other activation, be it a function (a ReLU too), of another kind
(ReLU6, Hardswish, SiLU, GELU) or written out (`x * torch.sigmoid(x)`), are refused: the hooks would pass over it and the map
would be the plain gradient, or a mixture. So all else must be linear, a pooling, a norm or the softmax at the end: gates and
attention are refused too, but for the gate of a feature importance branch (`lfi-cam`), which counts as constant. The rule itself
holds for a ReLU that is used several times, but captum's hooks keep one use: `split=true` gives each use a module of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import captum.attr
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.captum_adapter import Arguments, TwinPass, refuse, require_modules, single_use, twin_pass
from xaicli.network.channels import CHANNELS_HELP, ChannelRule, channel_maps, reduce_channels, sign_of
from xaicli.network.classifier import Classifier
from xaicli.network.layers import LIST_THEM, FeatureLayer
from xaicli.network.observe import Operation
from xaicli.network.operations import MAX_POOLING, NORMS, SOFTMAX, is_linear
from xaicli.network.tokens import Axes
from xaicli.network.twin import give_copies
from xaicli.targets import Targets

PASSED = MAX_POOLING | NORMS
"""Operations that are neither linear nor activations: their gradients are not changed."""

SPLIT_HELP = "give each use of a reused activation a module of its own, instead of refusing the network"


def prepare(method: str, model: str, found: TwinPass, *, split: bool) -> None:
    """Refuse networks unless all activations are `nn.ReLU` modules that are used once; prepare the twin for captum's hooks."""
    operations = found.observed.operations
    for operation in operations:
        ends = operation is operations[-1] and operation.name in SOFTMAX
        if not (ends or is_linear(operation) or operation.name in PASSED or is_hooked(operation)):
            raise refuse(method, model, f"it is defined for ReLU modules, and captum's hooks pass over {operation}")
    kinds = tuple({type(module) for module in found.observed.times if isinstance(module, nn.ReLU)})
    if not kinds:
        raise refuse(method, model, "it changes how gradients pass a ReLU module, and there is none")
    single_use(method, model, found, kinds, split=split)
    give_copies(found.network, (nn.ReLU,))


def is_hooked(operation: Operation) -> bool:
    """Whether captum's hooks reach an operation: a subclass of nn.ReLU may compute something else."""
    return operation.name == "relu" and isinstance(operation.module, nn.ReLU)


@dataclass(frozen=True, kw_only=True)
class RectifierRule(Method):
    """The common base of the three methods: one of captum's rules for gradients at a ReLU, applied to a twin of the network."""

    channels: ChannelRule = param("max-abs", CHANNELS_HELP)
    split: bool = param(False, SPLIT_HELP)

    needs = Needs.GRADIENTS
    rule: ClassVar[type[captum.attr.GradientAttribution]]

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=2, backward=1)

    def require(self, classifier: Classifier) -> None:
        require_modules(self.name, classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with twin_pass(classifier, inputs, targets) as found:
            prepare(self.name, classifier.name, found, split=self.split)
            rule = self.rule(found.scored)
            values = found.each_target(lambda photos, arguments: rule.attribute(photos, additional_forward_args=arguments))
            return Maps(reduce_channels(values, self.channels), found.chosen, found.logits, channel_maps(values, self.channels))


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(RectifierRule):
    """Gradient with negative parts set to zero at each ReLU on the way back.

    At each ReLU `R_in = R_out * (input > 0) * (R_out > 0)`; elsewhere R is the gradient of the target's logit. Maps are
    (B, T, H, W) at the input's size, by default the largest magnitude of the colours. The map shows edges and textures that the
    network uses, but depends little on the target (Adebayo et al., 2018): do not read a class out of it. Contrasts A-B follow
    the gradient of the difference. The gate of a feature importance branch (`tiny` has one) counts as a constant factor.

    `xai explain cat.jpg --model resnet50 --method guided-backprop@split=true`
    """

    name = "guided-backprop"
    aliases = ("guided-backpropagation", "gbp")
    paper = "Springenberg et al., ICLR workshop 2015, arXiv 1412.6806"
    rule = captum.attr.GuidedBackprop


@dataclass(frozen=True, kw_only=True)
class Deconvolution(RectifierRule):
    """Gradient that passes each ReLU by its own sign, not by the photo's.

    At each ReLU `R_in = R_out * (R_out > 0)`; elsewhere R is the gradient of the target's logit. Maps are (B, T, H, W) at the
    input's size, by default the largest magnitude of the colours. The photo enters through max pooling alone: without pooling
    all photos have one map, and it does not beat a random map. Where a layer is narrow nothing positive may be left to pass on:
    for most classes of SqueezeNet the map is zero and gets no score. Contrasts A-B follow the gradient of the difference. The
    gate of a feature importance branch (`tiny` has one) counts as a constant factor.

    `xai explain cat.jpg --model resnet50 --method deconvolution@split=true`
    """

    name = "deconvolution"
    aliases = ("deconvnet",)
    paper = "Zeiler and Fergus, ECCV 2014, arXiv 1311.2901"
    rule = captum.attr.Deconvolution


@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(RectifierRule):
    """Guided backpropagation times the upsampled Grad-CAM map of a layer.

    `map = G * upsampled(C)`: G is the map of `guided-backprop`, C that of `grad-cam` with its ReLU, upsampled bilinearly
    (paper, section 3.2). Maps are (B, T, H, W) at the input's size, all zero where Grad-CAM is. The gate of a feature importance
    branch (`tiny` has one) counts as a constant factor of G, and of C too.

    `xai explain cat.jpg --model resnet50 --method guided-grad-cam@split=true`
    """

    layer: str = param("auto", "feature layer; `xai list layers` shows the names")

    name = "guided-grad-cam"
    paper = "Selvaraju et al., ICCV 2017, arXiv 1610.02391"
    needs = Needs.GRADIENTS | Needs.FEATURES

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=3, backward=2)

    def require(self, classifier: Classifier) -> None:
        super().require(classifier)
        self.require_layer(classifier)

    def require_layer(self, classifier: Classifier) -> FeatureLayer:
        """The layer; raises UsageError unless its channels come first, which captum's Grad-CAM requires."""
        layer = classifier.feature_layer(self.layer)
        if layer.layout.axes is not Axes.CHANNELS_FIRST:
            raise UsageError(
                f"{self.name} cannot explain {classifier.name}: layer {layer} gives tokens, or channels last",
                expected="a convolutional layer (photos, channels, rows, columns)",
                hint="Try grad-cam, or name a layer (xai list layers --model SPEC).",
            )
        return layer

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        layer = self.require_layer(classifier)
        with twin_pass(classifier, inputs, targets) as found:
            part = found.network.get_submodule(layer.name)
            calls = found.observed.times[part]
            prepare(self.name, classifier.name, found, split=self.split)
            if calls != 1:
                raise UsageError(
                    f"layer {layer} runs {calls} times in one pass", expected="a layer that runs once", hint=LIST_THEM
                )
            rule = captum.attr.GuidedGradCam(found.scored, part)

            def explain(photos: Tensor, arguments: Arguments) -> Tensor:
                at_input = layer.side == "input"
                product: Tensor = rule.attribute(
                    photos,
                    additional_forward_args=arguments,
                    interpolate_mode="bilinear",
                    attribute_to_layer_input=at_input,
                )
                return product

            values = found.each_target(explain)
            return Maps(reduce_channels(values, self.channels), found.chosen, found.logits, channel_maps(values, self.channels))
