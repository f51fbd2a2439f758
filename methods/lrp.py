"""Layer-wise relevance propagation, as gradient times input of a network whose layers were rewritten by their rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.captum_adapter import Arguments, TwinPass, refuse, require_modules, twin_pass
from xaicli.network.channels import CHANNELS_HELP, ChannelRule, channel_maps, reduce_channels, sign_of
from xaicli.network.classifier import Classifier
from xaicli.network.convolution_chains import chains
from xaicli.network.folding import take_in
from xaicli.network.operations import MAX_POOLING, is_linear
from xaicli.network.twin import replace_module
from xaicli.targets import Targets

PASSED = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.Tanh)
"""Activations: relevance passes through them unchanged."""
NORMS = (nn.LayerNorm, LayerNorm2d)
RULED = (nn.Conv2d, *NORMS, *PASSED)
WITHOUT_RULE_OF_THEIR_OWN = MAX_POOLING | {"relu"}
"""Operations whose gradient is their rule: the maximum, or the positive part, gets all relevance."""
NO_RULE = {"convolution", "_convolution"}
"""Operations that have a rule only inside a rewritten module."""


@dataclass(frozen=True, kw_only=True)
class LRP(Method):
    """Layer-wise relevance propagation, for convolutional networks: the score is handed back from layer to layer.

    `R_i = sum_j (x_i w_ij / z_j) R_j`, from the target's logit back to the pixels: x_i are a layer's inputs, w_ij its weights,
    `z_j = sum_i x_i w_ij + b_j` its outputs. `rule` says how convolutions do it: `gamma` adds `gamma` times the part of each
    product that has the output's sign (Montavon et al., 2019; Andeol et al., 2021), `alpha1-beta0` keeps positive products
    alone, `epsilon` is input times gradient. All other layers, and the first convolution, whose input has both signs, follow
    the epsilon rule. Biases stand in denominators alone, and absorb relevance. Batch norms are first folded into the
    convolutions before them; sums share relevance in proportion, pooling by maximum gives it to the winner, activations hand it
    on, a layer norm counts its deviation as constant. Maps are (B, T, H, W) at the input's size, signed, in logits; they sum to
    the logit less what biases and `epsilon` keep.

    For convolutional networks: plain ones, ResNets, DenseNets, MobileNetV2, ConvNeXt. Networks with products of two activations
    (attention, squeeze and excitation) are refused, but for a feature importance branch (`tiny` has one): its gate counts as a
    constant factor and gets no relevance.

    `xai explain cat.jpg --model resnet18 --method lrp`
    """

    rule: Literal["gamma", "epsilon", "alpha1-beta0"] = param("gamma", "how convolutions hand relevance back")
    gamma: float = param(0.25, "weight added to what speaks for the target, where rule=gamma", ge=0)
    epsilon: float = param(1e-9, "added to denominators; larger values swallow weak and contradictory relevance", gt=0)
    channels: ChannelRule = param("sum", CHANNELS_HELP)

    name = "lrp"
    version = 2
    paper = "Bach et al., PLoS ONE 10(7), 2015; Montavon et al., 2019"
    needs = Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """The pass that observes the network, and the one with rules, in which gamma runs convolutions five times."""
        return Cost(forward={"epsilon": 2, "alpha1-beta0": 4, "gamma": 6}[self.rule], backward=1)

    def require(self, classifier: Classifier) -> None:
        require_modules(self.name, classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with twin_pass(classifier, inputs, targets) as found:
            self.check(classifier, found)
            first = found.observed.called((nn.Conv2d,))[:1]
            fold_batch_norm(found)
            self.set_rules(found.network, first)

            def explain(photos: Tensor, arguments: Arguments) -> Tensor:
                (gradient,) = torch.autograd.grad(found.scored(photos, *arguments).sum(), photos)
                return photos.detach() * gradient

            values = found.each_target(explain)
            return Maps(reduce_channels(values, self.channels), found.chosen, found.logits, channel_maps(values, self.channels))

    def check(self, classifier: Classifier, found: TwinPass) -> None:
        """Raise UsageError unless there is a rule for each operation."""
        if classifier.probabilities:
            raise refuse(self.name, classifier.name, "it ends in a softmax, which has no rule")
        for operation in found.observed.outside(RULED):
            linear = is_linear(operation) and not (operation.name in NO_RULE and self.rule != "epsilon")
            if not linear and operation.name not in WITHOUT_RULE_OF_THEIR_OWN:
                raise refuse(self.name, classifier.name, f"there is no rule for {operation}")

    def set_rules(self, network: nn.Module, first: list[nn.Module]) -> None:
        """Rewrite the outputs of modules; first: the convolution that takes the photo."""

        def convolution(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return handed_back(self.convolution_sum(module, inputs[0], output), output, self.epsilon)

        def linear(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return handed_back(output, output, self.epsilon)

        for module in network.modules():
            if type(module) is nn.Conv2d and module not in first and self.rule != "epsilon":
                module.register_forward_hook(convolution)
            elif type(module) in (nn.Conv2d, nn.Linear):
                module.register_forward_hook(linear)
            elif type(module) in PASSED and type(module) is not nn.ReLU:
                module.register_forward_hook(passed_on)
            elif type(module) in NORMS:
                module.register_forward_hook(by_constant_deviation)

    def convolution_sum(self, module: nn.Conv2d, inputs: Tensor, output: Tensor) -> Tensor:
        """What a convolution's rule shares relevance by: products of inputs and changed weights, and the bias, summed."""
        weight, bias = module.weight, module.bias
        signed = bool((inputs < 0).any())

        def total(positive: Tensor, negative: Tensor, offset: Tensor | None) -> Tensor:
            """positive, negative: the weights of inputs of either sign."""
            summed = module._conv_forward(inputs.clamp_min(0), positive, offset)
            return summed + module._conv_forward(inputs.clamp_max(0), negative, None) if signed else summed

        over, under = weight.clamp_min(0), weight.clamp_max(0)
        if self.rule == "alpha1-beta0":
            return total(over, under, None if bias is None else bias.clamp_min(0))
        more, less = weight + self.gamma * over, weight + self.gamma * under
        upper = None if bias is None else bias + self.gamma * bias.clamp_min(0)
        lower = None if bias is None else bias + self.gamma * bias.clamp_max(0)
        return torch.where(output > 0, total(more, less, upper), total(less, more, lower))


def handed_back(total: Tensor, output: Tensor, epsilon: float) -> Tensor:
    """The output itself, whose gradient hands relevance back by the products that `total` sums: `total (output / total)`, the
    quotient constant and its denominator kept off 0 by epsilon."""
    fixed = total.detach()
    away = torch.where(fixed < 0, fixed - epsilon, fixed + epsilon)
    return total * torch.where(fixed == 0, 0.0, output.detach() / away)


def passed_on(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """An activation as `u (f(u) / u)`, the quotient constant: relevance goes through unchanged."""
    values = inputs[0]
    fixed = values.detach()
    return values * torch.where(fixed == 0, 0.0, output.detach() / torch.where(fixed == 0, 1.0, fixed))


def by_constant_deviation(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A layer norm as a linear layer: its deviation is a constant, its mean is not (Ali et al., 2022)."""
    # torchvision's norm over channels keeps them second.
    values = inputs[0].movedim(1, -1) if type(module) is LayerNorm2d else inputs[0]
    places = tuple(range(-len(module.normalized_shape), 0))
    deviation = (values.detach().var(dim=places, correction=0, keepdim=True) + module.eps).sqrt()
    scaled = (values - values.mean(dim=places, keepdim=True)) / deviation
    scaled = scaled if module.weight is None else scaled * module.weight
    scaled = scaled if module.bias is None else scaled + module.bias
    return scaled.movedim(-1, 1) if type(module) is LayerNorm2d else scaled


def fold_batch_norm(found: TwinPass) -> None:
    """Merge each batch norm into the convolution before it if nothing else reads that; otherwise its shift would absorb
    relevance."""
    parts = dict(found.network.named_modules())
    for chain in chains(found.observed):
        if chain.norm:
            convolution, norm = parts[chain.convolution], parts[chain.norm]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            take_in(convolution, norm)
            replace_module(found.network, norm, nn.Identity())
