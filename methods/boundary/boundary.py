"""The decision boundary (Zhuang et al., 2019): how far a photo is from it, which class is on the other side, and which regions
keep the photo away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import RunError, UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.boundary.head import Projection, project, watching_head
from xaicli.methods.boundary.input_space import Arrival, nearest_boundary
from xaicli.methods.pixel_gradients.input_gradients import clean_pass
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.noise import noise
from xaicli.network.taps import tap
from xaicli.outputs import Outputs
from xaicli.targets import NO_CLASS, Resolved, Targets, gather

SPACE = (-2, -1)
INVERSE_ERROR = 1e-3
"""How far the inverse of a photo's features may be from the photo, relative to its largest value."""


@dataclass(frozen=True, kw_only=True)
class Boundary(Method):
    """Decision boundary: what would have to change for another class to be as likely.

    `f = z_target - z_rival`, `w = W_target - W_rival` with W the weights of the linear head, y its input. The nearest point of
    the boundary in feature space is `y_p = y - f w / |w|^2`, at distance `|f| / |w|`. The rival is the nearest class, or the B of
    a target `A-B`. Of labels, each with a sigmoid of its own, `f = z_target` and there is no rival.

    `space=feature` (default): `map = sum_k d_k A_k` with A_k the channels of the feature layer and `d_k = f / |w|^2` times the
    sum over places of df/dA_k. Behind global average pooling d is `y - y_p` itself. Positive regions hold the photo on its side
    of the boundary. But for its scale this is the Grad-CAM of `A-B`; what is new is the distance and the rival.
    `space=input`: the photo moves to the boundary by repeated linear projection; `map = sum over channels of df/dx (x - x_p)`,
    which sums to f for a linear network. The way there is an adversarial direction and looks like noise.
    `space=invertible`: for a network with a method `inverse(features)`; `x_p` is the inverse of y_p, and the map as for `input`.
    Maps are (B, T, h, w), of the layer or of the input.

    Extras: `distance` and `rival` (B, T), -1 where there is none; distances are in units of the features, or of normalised
    inputs. For `input`: `steps` taken as `iterations`, and `reached` 1 or 0. With `parts`, outside of feature space:
    `counterfactual` (B, T, 3, H, W), the photo on the boundary, colours 0 to 1.

    Reconstructed: the paper's code covers points in a plane; the importance of pixels is the form that is complete for linear
    networks.

    `xai explain cat.jpg --method boundary`
    """

    space: Literal["feature", "input", "invertible"] = param("feature", "where the nearest point of the boundary is looked for")
    layer: str = param("auto", "feature layer of space=feature; xai list layers --model SPEC shows the names")
    max_rivals: int = param(10, "classes that space=input considers: the most probable", ge=1)
    max_steps: int = param(20, "projections of space=input at most", ge=1)
    tol: float = param(1e-4, "margin that counts as none, of the photo's own margin", gt=0, lt=1)
    parts: bool = param(False, "also keep the photo on the boundary")

    name = "boundary"
    paper = "Zhuang, Dvornek, Li, Yang and Duncan, ICCV Workshops 2019, arXiv:1910.00406"
    sign = Sign.SIGNED

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        return Needs.GRADIENTS | Needs.FEATURES if self.space == "feature" else Needs.GRADIENTS

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """space=input: at most; it mostly takes two to six steps."""
        if self.space == "input":
            return Cost(2 + self.max_steps, 1 + (1 + self.max_steps) * self.max_rivals)
        return Cost(1, 1)

    def require(self, classifier: Classifier) -> None:
        """Refuse outputs that are no classes, and, by a pass of noise, a network that does not end in a linear layer."""
        self.require_classes(classifier)
        if self.space != "input":
            photo = noise(classifier.torch_module, classifier.view.size, classifier.view.channels)
            with attribution_mode(classifier.torch_module), watching_head(classifier.torch_module) as seen, torch.no_grad():
                seen.head(classifier, classifier(photo))

    def require_classes(self, classifier: Classifier) -> None:
        if classifier.outputs not in (Outputs.SOFTMAX, Outputs.SIGMOID):
            raise UsageError(
                f"boundary needs classes, and {classifier.name} gives {classifier.outputs.value}", expected="a classifier"
            )
        if self.space == "invertible" and not callable(getattr(classifier.torch_module, "inverse", None)):
            raise UsageError(
                f"boundary@space=invertible: {classifier.name} has no method inverse(features)",
                hint="Use boundary@space=feature, or give file.py:make whose network has one.",
            )

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        self.require_classes(classifier)
        if self.space == "feature":
            return self.in_feature_space(classifier, inputs, targets)
        clean = clean_pass(classifier, inputs, targets)
        chosen = clean.chosen
        if self.space == "input":
            return self.in_input_space(classifier, inputs, clean.logits, chosen)
        return self.through_inverse(classifier, inputs, clean.logits, chosen)

    def in_feature_space(self, classifier: Classifier, inputs: Tensor, targets: Targets) -> Maps:
        with tap(classifier, self.layer) as features, watching_head(classifier.torch_module) as seen:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            way = towards(classifier, seen.head(classifier, logits)[0], logits.detach(), chosen)
            activation = features.activation
            maps = []
            for at, gradient in enumerate(features.gradients_of(gather(logits, chosen.classes, way.rival))):
                scale = way.margin[:, at] / way.steepness[:, at].square().clamp_min(torch.finfo(torch.float32).tiny)
                change = gradient.sum(dim=SPACE) * scale[:, None]
                maps.append((change[..., None, None] * activation).sum(dim=1))
        extras = {"distance": way.distance, "rival": way.rival.float()}
        return Maps(torch.stack(maps, dim=1), chosen.detached(), logits.detach(), extras)

    def in_input_space(self, classifier: Classifier, inputs: Tensor, logits: Tensor, chosen: Resolved) -> Maps:
        found = []
        with attribution_mode(classifier.torch_module):
            for photo, own, classes, against in zip(inputs, logits, chosen.classes, chosen.against, strict=True):
                found.append(
                    [
                        self.arrival(classifier, photo, own, index, other)
                        for index, other in zip(classes.tolist(), against.tolist(), strict=True)
                    ]
                )
        flat = [arrival for row in found for arrival in row]
        shape = chosen.classes.shape
        points = torch.stack([arrival.point for arrival in flat]).unflatten(0, shape)
        slopes = torch.stack([arrival.slope for arrival in flat]).unflatten(0, shape)

        def numbers(of: Callable[[Arrival], float]) -> Tensor:
            return torch.tensor([of(arrival) for arrival in flat], dtype=torch.float32, device=inputs.device).view(shape)

        extras = {
            "rival": numbers(lambda arrival: arrival.rival),
            "iterations": numbers(lambda arrival: arrival.steps),
            "reached": numbers(lambda arrival: arrival.arrived),
        }
        return self.moved(classifier, inputs, points, slopes, logits, chosen, extras)

    def arrival(self, classifier: Classifier, photo: Tensor, logits: Tensor, index: int, against: int) -> Arrival:
        """Move one photo to the boundary of one target."""
        if against != NO_CLASS:
            rivals = [against]
        elif classifier.outputs is Outputs.SIGMOID:
            rivals = [NO_CLASS]
        else:
            order = logits.argsort(descending=True, stable=True).tolist()
            rivals = [other for other in order if other != index][: self.max_rivals]

        def margins(at: Tensor) -> Tensor:
            output = classifier(at)[0]
            return torch.stack([output[index] - (output[other] if other != NO_CLASS else 0) for other in rivals])

        if not rivals:
            raise UsageError(f"{classifier.name} has one class, and no boundary to another")
        return nearest_boundary(margins, photo.detach(), rivals, self.max_steps, self.tol)

    def through_inverse(self, classifier: Classifier, inputs: Tensor, logits: Tensor, chosen: Resolved) -> Maps:
        module: Any = classifier.torch_module
        with attribution_mode(classifier.torch_module), watching_head(module) as seen, torch.no_grad():
            head, features = seen.head(classifier, classifier(inputs))
            back = module.inverse(features)
            if back.shape != inputs.shape or not bool((back - inputs).abs().max() <= INVERSE_ERROR * inputs.abs().max()):
                raise RunError(
                    f"{classifier.name}.inverse(features) does not give the photo back",
                    expected="the inputs (B, 3, H, W), to 1e-3",
                )
            way = towards(classifier, head, logits, chosen)
            step = way.margin / way.steepness.square().clamp_min(torch.finfo(torch.float32).tiny)
            apart = head.weight[chosen.classes] - torch.where(
                (way.rival != NO_CLASS)[..., None], head.weight[way.rival.clamp_min(0)], 0
            )
            there = features[:, None] - step[..., None] * apart
            points = module.inverse(there.flatten(0, 1)).unflatten(0, chosen.classes.shape)
        decided = Targets.decided(Resolved(chosen.classes, way.rival, chosen.scores, chosen.outputs))
        slopes = clean_pass(classifier, inputs, decided).gradients
        return self.moved(classifier, inputs, points, slopes, logits, chosen, {"rival": way.rival.float()})

    def moved(
        self,
        classifier: Classifier,
        inputs: Tensor,
        points: Tensor,
        slopes: Tensor,
        logits: Tensor,
        chosen: Resolved,
        extras: dict[str, Tensor],
    ) -> Maps:
        """Maps of photos (B, 3, H, W) that were moved to points (B, T, 3, H, W), with the margin's gradients at the photos."""
        change = inputs.detach()[:, None] - points
        extras = {"distance": change.flatten(2).norm(dim=2), **extras}
        if self.parts:
            extras["counterfactual"] = classifier.view.pixels(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        return Maps((slopes * change).sum(dim=2), chosen, logits, extras)


def towards(classifier: Classifier, head: torch.nn.Linear, logits: Tensor, chosen: Resolved) -> Projection:
    labels = classifier.outputs is Outputs.SIGMOID
    return project(head, logits, chosen.classes, chosen.against, labels=labels)
