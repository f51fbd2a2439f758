"""U-CAM (Patro, Lunayach, Patel and Namboodiri, 2019) for classifiers: what makes a network certain, by gradients of entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.certainty.noise_source import altered, dropouts, dropping
from xaicli.methods.certainty.uncertainty import Uncertainty, entropy, slope
from xaicli.methods.certainty.variance_head import VarianceTask, VarianceTraining, variance_head
from xaicli.models.checkpoint import checkpoint_for
from xaicli.models.checkpoint_content import content_of
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.taps import tap
from xaicli.network.weighted_sum import weighted_sum
from xaicli.outputs import Outputs
from xaicli.targets import Targets
from xaicli.task import TaskOptions

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
    which is what the passes disagree about; `variance` of the logits as a trained head expects it, `softplus(v . z + c)` (one
    pass; `xai train u-cam@measure=variance`). A photo of which the network is sure has nearly empty certainty maps: read M beside
    the uncertainty.

    Reconstructed for classifiers: the paper answers questions about photos, and its code (evaluation alone) shows what raises
    the loss. Dropout that was not trained with measures how well the network bears missing features, no more.

    Extras: `uncertainty`, the measure's value (B,) in nats, of `variance` in squared logits; for `total`, `data` and `model` also
    `predictive_uncertainty` and `model_uncertainty` (B,).

    `xai explain cat.jpg --method u-cam@measure=total`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    measure: Literal["entropy", "total", "data", "model", "variance"] = param("entropy", "the uncertainty that is explained")
    source: Literal["auto", "dropout", "augment"] = param("auto", "what differs between passes; auto: dropout where there is any")
    n_passes: int = param(30, "with dropout, or of altered copies; for measure=total, data and model", ge=2)
    show: Literal["gated", "certainty"] = param("gated", "the certain part of the class map, or certainty with its sign")
    checkpoint: str = param("auto", "of measure=variance: file that xai train wrote; auto: the installed one", later=True)

    name = "u-cam"
    paper = "Patro, Lunayach, Patel and Namboodiri, ICCV 2019, arXiv:1908.06306"
    training = VarianceTraining

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checkpoint != "auto" and self.measure != "variance":
            raise UsageError(f"u-cam: checkpoint has no meaning with measure={self.measure}", hint="Write measure=variance.")

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        own = Needs.GRADIENTS | Needs.FEATURES
        return own | Needs.CHECKPOINT if self.measure == "variance" else own

    @property
    def one_pass(self) -> bool:
        """Whether the plain pass alone tells the uncertainty."""
        return self.measure in ("entropy", "variance")

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.show == "gated" else Sign.SIGNED

    @property
    def class_specific(self) -> bool:  # type: ignore[override]
        return self.show == "gated"

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return not self.one_pass

    def parameters_as_given(self) -> dict[str, Any]:
        """A checkpoint counts by its content, not by the folder that it lies in."""
        given = super().parameters_as_given()
        return given if self.checkpoint == "auto" else {**given, "checkpoint": content_of(self.checkpoint)}

    def found_for(self, classifier: Classifier) -> dict[str, str]:
        if self.measure != "variance":
            return {}
        found = checkpoint_for(VarianceTask.name, classifier, self.checkpoint)
        return {"checkpoint": content_of(str(found.path))}

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One clean pass with backward passes for the class map and the uncertainty; with several passes, each runs forward
        twice and backward once."""
        own = Cost(1, 1 if self.show == "gated" else 0)
        return own + (Cost(0, 1) if self.one_pass else Cost(2 * self.n_passes, self.n_passes))

    def require(self, classifier: Classifier) -> None:
        if classifier.outputs not in (Outputs.SOFTMAX, Outputs.SIGMOID):
            raise UsageError(
                f"u-cam explains the uncertainty of probabilities, but {classifier.name} gives {classifier.outputs.value}",
                expected="a classifier",
            )
        if self.source == "dropout" and not dropouts(classifier.torch_module):
            raise UsageError(
                f"u-cam@source=dropout: {classifier.name} has no dropout layer",
                hint="Use u-cam@source=augment, which needs none.",
            )
        if self.measure == "variance":
            variance_head(classifier, self.checkpoint)

    def task(self, classifier: Classifier, options: TaskOptions) -> VarianceTask:
        if self.measure != "variance":
            raise UsageError(f"{self.label} needs no training", hint="What is trained is u-cam@measure=variance.")
        return VarianceTask(classifier, VarianceTraining.from_text(dict(options.parameters)))

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        self.require(classifier)
        with tap(classifier, self.layer) as features:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            scores = [chosen.scores] if self.show == "gated" else []
            uncertainty = self.uncertainty(classifier, logits)
            if self.one_pass:
                scores.append(-uncertainty[:, None])
            activation = features.activation
            maps = [cam(activation, gradient) for gradient in features.gradients_of(torch.cat(scores, dim=1))] if scores else []
        extras = {"uncertainty": uncertainty.detach()}
        if self.one_pass:
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

    def uncertainty(self, classifier: Classifier, logits: Tensor) -> Tensor:
        """Of the plain pass, (B,)."""
        if self.measure == "variance":
            return variance_head(classifier, self.checkpoint)(logits)
        return entropy(classifier.outputs.probabilities(logits), classifier.outputs)

    def over_passes(self, classifier: Classifier, inputs: Tensor, seeds: Tensor) -> tuple[Tensor, Uncertainty]:
        """Certainty maps (B, h, w) over several passes, and the uncertainty. Two sweeps: the first for the mean probability, the
        second for gradients, so that one pass's graph is kept at a time."""
        kind = classifier.outputs
        with torch.no_grad(), eval_mode(classifier.torch_module):
            probabilities = torch.stack(
                [kind.probabilities(self.disturbed(classifier, inputs, seeds, number)[0]) for number in range(self.n_passes)]
            )
        mean_slope = slope(probabilities.mean(dim=0), kind)
        total: Tensor | None = None
        for number in range(self.n_passes):
            with tap(classifier, self.layer) as features:
                logits, mirrored = self.disturbed(classifier, inputs, seeds, number)
                shares = kind.probabilities(logits)
                of_mean, own = (mean_slope * shares).sum(dim=1), entropy(shares, kind)
                falls = {"total": -of_mean, "data": -own, "model": own - of_mean}[self.measure]
                (gradient,) = features.gradients_of(falls[:, None] / self.n_passes)
                part = cam(features.activation, gradient)
            part = torch.where(mirrored[:, None, None], part.flip(2), part)
            total = part if total is None else total + part
        assert total is not None
        return total, Uncertainty.of(probabilities, kind)

    def disturbed(self, classifier: Classifier, inputs: Tensor, seeds: Tensor, number: int) -> tuple[Tensor, Tensor]:
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
