"""DeepLIFT (captum's, on a twin): differences from a baseline passed back through the network."""

from __future__ import annotations

from dataclasses import dataclass

import captum.attr
import torch
from torch import Tensor, nn

from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.captum_adapter import Arguments, TwinPass, refuse, require_modules, single_use, twin_pass
from xaicli.network.channels import CHANNELS_HELP, ChannelRule, channel_maps, reduce_channels, sign_of
from xaicli.network.classifier import Classifier
from xaicli.network.operations import is_linear
from xaicli.network.twin import SharedMaxPool, give_copies, replace_module
from xaicli.passes.baselines import BASELINE_HELP, Baseline, baseline_inputs
from xaicli.targets import Targets

RULED = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool2d)
"""Modules for which captum has a correct rescale rule. Its rule for Softmax, which sums over the whole batch, is not."""


@dataclass(frozen=True, kw_only=True)
class DeepLIFT(Method):
    """Contributions of differences from a baseline, by the rescale rule.

    `map = (x - x') m`, summed over colours: m is the gradient of the target's logit with each activation's derivative replaced
    by `(f(z) - f(z')) / (z - z')`, z and z' its inputs for the photo x and the baseline x'. Pooling by maximum credits the
    places of the larger of the two maxima, in equal parts where several are largest, as all of a window are under a plain
    baseline. Maps are (B, T, H, W) at the input's size, signed, in logits: they sum to the photo's logit less the baseline's
    (paper, equation 1), and `extras["gap"]` (B, T) is what is missing of it. Networks whose nonlinear parts are not all modules
    with a rule, used once, are refused: functional or reused activations, ReLU6, Hardswish, SiLU, GELU, attention, products. The
    gate of a feature importance branch (`tiny` has one) counts as a constant factor, so that `gap` holds what the gate itself
    changes.

    `xai explain cat.jpg --model squeezenet1_1 --method deeplift`
    """

    baseline: Baseline = param("zero", BASELINE_HELP)
    channels: ChannelRule = param("sum", CHANNELS_HELP)
    split: bool = param(False, "give each use of a reused activation a module of its own, instead of refusing the network")

    name = "deeplift"
    version = 2
    paper = "Shrikumar et al., ICML 2017, arXiv 1704.02685"
    needs = Needs.GRADIENTS

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=5, backward=2)

    def require(self, classifier: Classifier) -> None:
        require_modules(self.name, classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with twin_pass(classifier, inputs, targets) as found:
            self.prepare(classifier.name, found)
            starts = baseline_inputs(self.baseline, classifier.view, found.photos)
            rule = captum.attr.DeepLift(found.scored)

            def explain(photos: Tensor, arguments: Arguments) -> Tensor:
                contributions: Tensor = rule.attribute(photos, starts, additional_forward_args=arguments)
                return contributions

            values = found.each_target(explain)
            with torch.no_grad():
                base = found.chosen.logit(classifier.logits(found.network(starts), len(starts)))
            gap = found.chosen.scores - base - values.sum(dim=(2, 3, 4))
            extras = {"gap": gap, **channel_maps(values, self.channels)}
            return Maps(reduce_channels(values, self.channels), found.chosen, found.logits, extras)

    def prepare(self, model: str, found: TwinPass) -> None:
        """Refuse networks that the rules do not cover; prepare the twin for the rules."""
        for operation in found.observed.outside(RULED):
            if not is_linear(operation):
                raise refuse(self.name, model, f"it has no rule for {operation}")
        single_use(self.name, model, found, RULED, split=self.split)
        for pool in [module for module in found.network.modules() if isinstance(module, nn.MaxPool2d)]:
            # captum's rule reads one photo's gradient for all, writes one window's contribution over another's where windows
            # overlap, and credits the first of equal cells.
            replace_module(found.network, pool, SharedMaxPool(pool))
        give_copies(found.network, RULED)
