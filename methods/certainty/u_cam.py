"""U-CAM (Patro, Lunayach, Patel and Namboodiri, 2019) for classifiers: what makes a network certain, by gradients of entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.certainty.noise_source import altered, dropouts, dropping
from xaicli.methods.certainty.uncertainty import Uncertainty, entropy, slope
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.taps import tap
from xaicli.network.weighted_sum import weighted_sum
from xaicli.outputs import Outputs
from xaicli.targets import Targets

SPACE = (-2, -1)


@dataclass(frozen=True, kw_only=True)
class UCAM(Method):
    """U-CAM: the part of a class map that makes the network certain, or what makes it certain at all.

    `M = sum_k w_k A_k`, `w_k = mean over places of -dU/dA_k`: A_k are the channels of one layer, U is the network's uncertainty
    of the photo in nats. `show=gated` (default) is `relu(G) relu(M) / max(relu(M))` with G the Grad-CAM of the target: evidence
    for the target that also makes the network certain. `show=certainty` is M itself, the same for every target: positive where
    a region makes the network certain, negative where it makes it uncertain. Maps are (B, T, h, w) at the layer's resolution.

    Measures: `entropy` of the plain pass (one pass); over `n_passes` passes with dropout, or over altered copies of the photo
    where the network has no dropout: `total` entropy of the mean probability, `data` mean entropy, `model` their difference,
    which is what the passes disagree about. A photo of which the network is sure has nearly empty certainty maps: read M beside
    the uncertainty.

    Reconstructed for classifiers: the paper answers questions about photos, and its code (evaluation alone) shows what raises
    the loss. Dropout that was not trained with measures how well the network bears missing features, no more.

    Extras: `uncertainty`, the measure's value (B,) in nats; for `total`, `data` and `model` also `predictive_uncertainty` and
    `model_uncertainty` (B,).

    `xai explain cat.jpg --method u-cam@measure=total`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    measure: Literal["entropy", "total", "data", "model"] = param("entropy", "the uncertainty that is explained")
    source: Literal["auto", "dropout", "augment"] = param("auto", "what differs between passes; auto: dropout where there is any")
    n_passes: int = param(30, "with dropout, or of altered copies; not for measure=entropy", ge=2)
    show: Literal["gated", "certainty"] = param("gated", "the certain part of the class map, or certainty with its sign")

    name = "u-cam"
    paper = "Patro, Lunayach, Patel and Namboodiri, ICCV 2019, arXiv:1908.06306"
    needs = Needs.GRADIENTS | Needs.FEATURES

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.show == "gated" else Sign.SIGNED

    @property
    def class_specific(self) -> bool:  # type: ignore[override]
        return self.show == "gated"

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.measure != "entropy"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One clean pass with backward passes for the class map and the entropy; with several passes, each runs forward twice and
        backward once."""
        own = Cost(1, 1 if self.show == "gated" else 0)
        return own + (Cost(0, 1) if self.measure == "entropy" else Cost(2 * self.n_passes, self.n_passes))

    def require(self, classifier: Classifier) -> None:
        if classifier.outputs not in (Outputs.SOFTMAX, Outputs.SIGMOID):
            raise UsageError(
                f"u-cam explains the uncertainty of probabilities, but {classifier.name} gives {classifier.outputs.value}",
                expected="a classifier",
            )
        if self.source == "dropout" and self.measure != "entropy" and not dropouts(classifier.torch_module):
            raise UsageError(
                f"u-cam@source=dropout: {classifier.name} has no dropout layer",
                hint="Use u-cam@source=augment, or measure=entropy.",
            )

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        self.require(classifier)
        with tap(classifier, self.layer) as features:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            scores = [chosen.scores] if self.show == "gated" else []
            uncertainty = entropy(classifier.outputs.probabilities(logits), classifier.outputs)
            if self.measure == "entropy":
                scores.append(-uncertainty[:, None])
            activation = features.activation
            maps = [cam(activation, gradient) for gradient in features.gradients_of(torch.cat(scores, dim=1))] if scores else []
        extras = {"uncertainty": uncertainty.detach()}
        if self.measure == "entropy":
            certainty = maps.pop()
        else:
            certainty, found = self.over_passes(classifier, inputs, seeds)
            named = {"total": found.total, "data": found.data, "model": found.model}
            extras = {"uncertainty": named[self.measure]}
            extras |= {"predictive_uncertainty": found.total, "model_uncertainty": found.model}
        values = certainty[:, None].expand(-1, chosen.classes.shape[1], -1, -1)
        if self.show == "gated":
            values = torch.stack(maps, dim=1).relu() * share_of_largest(certainty)[:, None]
        return Maps(values.clone(), chosen.detached(), logits.detach(), extras)

    def over_passes(self, classifier: Classifier, inputs: Tensor, seeds: Tensor) -> tuple[Tensor, Uncertainty]:
        """Certainty maps (B, h, w) over several passes, and the uncertainty. Two sweeps: the first for the mean probability, the
        second for gradients, so that one pass's graph is kept at a time."""
        kind = classifier.outputs
        with torch.no_grad(), eval_mode(classifier.torch_module):
            probabilities = torch.stack(
                [kind.probabilities(self.one_pass(classifier, inputs, seeds, number)[0]) for number in range(self.n_passes)]
            )
        mean_slope = slope(probabilities.mean(dim=0), kind)
        total: Tensor | None = None
        for number in range(self.n_passes):
            with tap(classifier, self.layer) as features:
                logits, mirrored = self.one_pass(classifier, inputs, seeds, number)
                shares = kind.probabilities(logits)
                of_mean, own = (mean_slope * shares).sum(dim=1), entropy(shares, kind)
                falls = {"total": -of_mean, "data": -own, "model": own - of_mean}[self.measure]
                (gradient,) = features.gradients_of(falls[:, None] / self.n_passes)
                part = cam(features.activation, gradient)
            part = torch.where(mirrored[:, None, None], part.flip(2), part)
            total = part if total is None else total + part
        assert total is not None
        return total, Uncertainty.of(probabilities, kind)

    def one_pass(self, classifier: Classifier, inputs: Tensor, seeds: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Logits (B, C) of pass `number`, and which photos were mirrored in it (B,)."""
        module = classifier.torch_module
        if self.source == "dropout" or (self.source == "auto" and dropouts(module)):
            with dropping(module, seeds, number):
                return classifier(inputs), torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        changed, mirrored = altered(inputs, classifier.view, seeds, number)
        return classifier(changed), mirrored


def cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Activations (B, K, h, w) weighted by their mean gradients, summed over channels: (B, h, w), signed."""
    return weighted_sum(gradient.mean(dim=SPACE, keepdim=True), activation, relu=False)


def share_of_largest(certainty: Tensor) -> Tensor:
    """The positive part of maps (B, h, w) divided by its maximum; zeros if nothing is positive."""
    positive = certainty.relu()
    largest = positive.amax(dim=SPACE, keepdim=True)
    return torch.where(largest > 0, positive / torch.where(largest > 0, largest, 1), 0)
