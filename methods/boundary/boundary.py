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
from xaicli.methods.boundary.head import Projection, apart, project, third_class, watching_head
from xaicli.methods.boundary.input_space import Arrival, nearest_boundary
from xaicli.methods.boundary.smooth_change import RETURNS, Smoothing, smooth_boundary
from xaicli.methods.pixel_gradients.input_gradients import clean_pass, gradients_of, leaf
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.network.noise import noise
from xaicli.network.taps import tap
from xaicli.outputs import Outputs
from xaicli.passes.queue import clean_logits
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
    which sums to f for a linear network. The way there is an adversarial direction and looks like noise. `smooth=28`: it is
    drawn on a grid of 28 x 28 cells instead, and `|x - x_p| + variation TV(x - x_p)` is made small along the boundary; such a
    change can be looked at, but need not mean anything to people.
    `space=invertible`: for a network with a method `inverse(features)`; `x_p` is the inverse of y_p, and the map as for `input`.
    Maps are (B, T, h, w), of the layer or of the input.

    Extras: `distance` and `rival` (B, T), -1 where there is none; distances are in units of the features, or of normalised
    inputs. Of classes also `third`, 1 where at the boundary another class is above both. For `input`: `steps` taken as
    `iterations`, and `reached` 1 or 0. With `parts`, outside of feature space: `counterfactual` (B, T, 3, H, W), the photo on the
    boundary, colours 0 to 1, drawn beside the photo as `.counterfactual.png`; and `clipped_margin`, f of it, since colours
    beyond 0 to 1 are lost.

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
    smooth: int = param(
        0, "side of the grid on which space=input draws the change, in cells; 0: pixel by pixel", ge=0, later=True
    )
    variation: float = param(0.01, "what the total variation of a smooth change counts beside its length", ge=0, later=True)
    rounds: int = param(100, "gradient steps that make a smooth change shorter and plainer", ge=0, later=True)

    name = "boundary"
    paper = "Zhuang, Dvornek, Li, Yang and Duncan, ICCV Workshops 2019, arXiv:1910.00406"
    sign = Sign.SIGNED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth and self.space != "input":
            raise UsageError(f"boundary: smooth has no meaning with space={self.space}", hint="Write space=input.")

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        return Needs.GRADIENTS | Needs.FEATURES if self.space == "feature" else Needs.GRADIENTS

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """space=input: at most; it mostly takes two to six steps. An inverse is not counted."""
        if self.space == "feature":
            return Cost(1, 1)
        # The point that is reached, and the same with its colours clipped.
        there = Cost(2 if self.parts else 1)
        if self.space == "invertible":
            return Cost(1, 1) + there
        steps = Cost(2 + self.max_steps, 1 + (1 + self.max_steps) * self.max_rivals, at_most=True)
        if not self.smooth:
            return steps + there
        shorter = self.rounds + RETURNS * (self.rounds > 0)
        return steps + there + Cost(1 + shorter, 1 + shorter)

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
        if self.space == "input":
            return self.in_input_space(classifier, inputs, targets)
        return self.through_inverse(classifier, inputs, targets)

    def in_feature_space(self, classifier: Classifier, inputs: Tensor, targets: Targets) -> Maps:
        with tap(classifier, self.layer) as features, watching_head(classifier.torch_module) as seen:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            head = seen.head(classifier, logits)[0]
            way = towards(classifier, head, logits.detach(), chosen)
            activation = features.activation
            maps = []
            for at, gradient in enumerate(features.gradients_of(gather(logits, chosen.classes, way.rival))):
                change = gradient.sum(dim=SPACE) * way.step[:, at, None]
                maps.append((change[..., None, None] * activation).sum(dim=1))
        extras = {"distance": way.distance, "rival": way.rival.float()}
        if classifier.outputs is Outputs.SOFTMAX:
            way_there = apart(head, chosen.classes, way.rival) @ head.weight.detach().float().T
            there = logits.detach()[:, None] - way.step[..., None] * way_there
            extras["third"] = third_class(there, chosen.classes, way.rival)
        return Maps(torch.stack(maps, dim=1), chosen.detached(), logits.detach(), extras)

    def in_input_space(self, classifier: Classifier, inputs: Tensor, targets: Targets) -> Maps:
        clean = clean_pass(classifier, inputs, targets)
        chosen, found = clean.chosen, []
        with attribution_mode(classifier.torch_module):
            for photo, own, classes, against in zip(inputs, clean.logits, chosen.classes, chosen.against, strict=True):
                for index, other in zip(classes.tolist(), against.tolist(), strict=True):
                    found.append(self.arrival(classifier, photo, own, index, other))
        shape = chosen.classes.shape

        def numbers(of: Callable[[Arrival], float]) -> Tensor:
            return torch.tensor([of(arrival) for arrival in found], dtype=torch.float32, device=inputs.device).view(shape)

        extras = {
            "rival": numbers(lambda arrival: arrival.rival),
            "iterations": numbers(lambda arrival: arrival.steps),
            "reached": numbers(lambda arrival: arrival.arrived),
        }
        points = torch.stack([arrival.point for arrival in found]).unflatten(0, shape)
        if self.smooth:
            # The slopes that were met on the way are those of the grid.
            slopes = clean_pass(classifier, inputs, decided(chosen, extras["rival"])).gradients
        else:
            slopes = torch.stack([arrival.slope for arrival in found]).unflatten(0, shape)
        return self.moved(classifier, inputs, points, slopes, clean.logits, chosen, extras)

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
        way = margins, photo.detach(), rivals, self.max_steps, self.tol
        if not self.smooth:
            return nearest_boundary(*way)
        return smooth_boundary(*way, Smoothing(self.smooth, self.variation, self.rounds))

    def through_inverse(self, classifier: Classifier, inputs: Tensor, targets: Targets) -> Maps:
        module: Any = classifier.torch_module
        with attribution_mode(module), watching_head(module) as seen:
            photos = leaf(inputs)
            logits = classifier(photos.clone())
            chosen = targets.resolve(logits)
            head, features = seen.head(classifier, logits)
            way = towards(classifier, head, logits.detach(), chosen)
            slopes = gradients_of(gather(logits, chosen.classes, way.rival), photos, classifier.name)
            with torch.no_grad():
                back = module.inverse(features)
                if back.shape != inputs.shape or not bool((back - inputs).abs().max() <= INVERSE_ERROR * inputs.abs().max()):
                    raise RunError(
                        f"{classifier.name}.inverse(features) does not give the photo back",
                        expected="the inputs (B, 3, H, W), to 1e-3",
                    )
                there = features[:, None] - way.step[..., None] * apart(head, chosen.classes, way.rival)
                points = module.inverse(there.flatten(0, 1)).unflatten(0, chosen.classes.shape)
        extras = {"rival": way.rival.float()}
        return self.moved(classifier, inputs, points, slopes, logits.detach(), chosen.detached(), extras)

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
        rival = extras["rival"].long()

        def logits_at(where: Tensor) -> Tensor:
            return clean_logits(classifier, where.flatten(0, 1)).unflatten(0, where.shape[:2])

        there = logits_at(points)
        if classifier.outputs is Outputs.SOFTMAX:
            extras["third"] = third_class(there, chosen.classes, rival)
        if self.parts:
            extras["counterfactual"] = classifier.view.pixels(points)
            clipped = logits_at(classifier.view.normalise(extras["counterfactual"]))
            extras["clipped_margin"] = margin_of(clipped, chosen.classes, rival)
        return Maps((slopes * change).sum(dim=2), chosen, logits, extras)


def towards(classifier: Classifier, head: torch.nn.Linear, logits: Tensor, chosen: Resolved) -> Projection:
    labels = classifier.outputs is Outputs.SIGMOID
    return project(head, logits, chosen.classes, chosen.against, labels=labels)


def decided(chosen: Resolved, rival: Tensor) -> Targets:
    """The targets as contrasts with those rivals (B, T)."""
    return Targets.decided(Resolved(chosen.classes, rival.long(), chosen.scores, chosen.outputs))


def margin_of(logits: Tensor, targets: Tensor, rival: Tensor) -> Tensor:
    """`z_target - z_rival` (B, T) of logits (B, T, C); of a label without a rival its logit."""
    own, other = (logits.gather(2, index[..., None])[..., 0] for index in (targets, rival.clamp_min(0)))
    return own - torch.where(rival != NO_CLASS, other, 0)
