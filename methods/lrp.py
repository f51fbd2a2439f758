"""Layer-wise relevance propagation (captum's, on a twin)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import captum.attr
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule, PropagationRule
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.captum_adapter import Arguments, Bench, bench, refuse
from xaicli.network.channels import CHANNELS_HELP, ChannelRule, reduce_channels, sign_of
from xaicli.network.classifier import Classifier
from xaicli.network.operations import ROUTING
from xaicli.targets import Targets

RULED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)
PASSED = (nn.ReLU, nn.Tanh, nn.Dropout)
"""Relevance goes through these unchanged."""


@dataclass(frozen=True, kw_only=True)
class LRP(Method):
    """Layer-wise relevance propagation: the score is handed back from layer to layer.

    `R_i = sum_j (x_i w_ij / z_j) R_j`, from the target's logit back to the pixels: x_i are a layer's inputs, w_ij its weights,
    z_j its outputs. `rule` says how convolutions do it: `gamma` favours what speaks for the target (Montavon et al., 2019),
    `alpha1-beta0` keeps nothing else, `epsilon` is close to input times gradient. All other layers, and the first convolution,
    whose input has both signs, follow the epsilon rule. Maps are (B, T, H, W) at the input's size, signed, in logits; they sum
    to the logit less what biases and `epsilon` keep. The map of a contrast A-B is that of A less that of B. Networks are
    refused that compute anything, be it a sum or a ReLU, outside of modules that have a rule, or use such a module twice.

    `xai explain cat.jpg --model squeezenet1_1 --method lrp`
    """

    rule: Literal["gamma", "epsilon", "alpha1-beta0"] = param("gamma", "how convolutions hand relevance back")
    gamma: float = param(0.25, "weight added to what speaks for the target, where rule=gamma", ge=0)
    epsilon: float = param(1e-9, "added to denominators; larger values swallow weak and contradictory relevance", gt=0)
    channels: ChannelRule = param("sum", CHANNELS_HELP)

    name = "lrp"
    paper = "Bach et al., PLoS ONE 10(7), 2015; Montavon et al., 2019"
    needs = Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=3, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with bench(classifier, inputs, targets) as found:
            self.check(classifier, found)
            first = paths_of_first_convolution(found)
            fold_batch_norm(found.network)

            def explain(photos: Tensor, arguments: Arguments) -> Tensor:
                # captum takes the rules off again after each run.
                self.set_rules(found.network, first)
                relevance: Tensor = captum.attr.LRP(found.scored).attribute(photos, additional_forward_args=arguments)
                return relevance

            values = found.each_class(explain)
            return Maps(reduce_channels(values, self.channels), found.chosen, found.logits)

    def check(self, classifier: Classifier, found: Bench) -> None:
        """Raise UsageError unless each operation is one that relevance has a rule for."""
        if classifier.probabilities:
            raise refuse(self.name, classifier.name, "it ends in a softmax, which has no rule")
        for operation in found.observed.outside((*RULED, *PASSED)):
            if operation.name not in ROUTING:
                raise refuse(self.name, classifier.name, f"there is no rule for {operation}")
        for module in found.observed.called((*RULED, *PASSED)):
            if found.observed.times[module] > 1 and not isinstance(module, nn.Dropout | nn.Identity):
                path = found.observed.paths[module]
                raise refuse(self.name, classifier.name, f"its {type(module).__name__} {path} is used more than once in a pass")

    def set_rules(self, network: nn.Module, first: set[str]) -> None:
        """Give each module its rule; first: where the convolution stands that takes the photo."""
        for path, module in network.named_modules(remove_duplicate=False):
            if type(module) not in PASSED and next(module.children(), None) is None:
                ordinary = isinstance(module, nn.Conv2d) and path not in first
                module.rule = self.convolution_rule() if ordinary else EpsilonRule(self.epsilon)

    def convolution_rule(self) -> PropagationRule:
        if self.rule == "epsilon":
            return EpsilonRule(self.epsilon)
        rule = GammaRule(self.gamma, set_bias_to_zero=True) if self.rule == "gamma" else Alpha1_Beta0_Rule(set_bias_to_zero=True)
        rule.STABILITY_FACTOR = self.epsilon
        return rule


def paths_of_first_convolution(found: Bench) -> set[str]:
    """All paths of the convolution that runs first; modules are listed in the order of attributes, calls in that of the pass."""
    first = found.observed.called((nn.Conv2d,))[:1]
    return {path for path, module in found.network.named_modules(remove_duplicate=False) if module in first}


def fold_batch_norm(network: nn.Module) -> None:
    """Merge each batch norm into the convolution right before it, where relevance would else be lost to its shift."""
    for parent in network.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        for at in range(len(parent) - 1):
            convolution, norm = parent[at], parent[at + 1]
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                parent[at] = fuse_conv_bn_eval(convolution, norm).requires_grad_(False)
                parent[at + 1] = nn.Identity()
