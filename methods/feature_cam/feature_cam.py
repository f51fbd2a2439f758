"""Feature CAM: a class map multiplied with the edges of the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Sign, Wrapper, param
from xaicli.methods.feature_cam.edges import edge_magnitude
from xaicli.methods.feature_cam.hed import hed_edges, read_hed
from xaicli.methods.grad_cam import GradCAM
from xaicli.models.checkpoint_content import content_of
from xaicli.network.classifier import Classifier
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class FeatureCAM(Wrapper):
    """Feature CAM: a class map times the photo's edges, sharp to look at; its detail is the photo's, not the network's.

    `map = L E` (`mode=gate`): L is the map of the base, enlarged to the input and scaled to 0..1; E, from 0 to 1, is the Sobel
    magnitude of the grey photo after a Gaussian of `sigma` pixels, divided by its `percentile` and clipped at 1. `mode=soft`:
    `L (floor + (1 - floor) E)` keeps the inside of regions. `mode=multi`: L is the mean of the base's maps of three variants of
    the photo (as it is, with its edges enhanced, its edges alone), weighted by the target's probability on each. Maps are
    (B, T, H, W) at the input's resolution, from 0 to 1.

    E does not depend on the network: the map of a randomised network still looks like a drawing of the object, so run sanity
    checks on the base. Insertion and deletion rank the plain inside of an object last.

    `hed=FILE`: E is what a trained network gives, HED's fused map of edges, as in the paper. Its weights do not ship with the
    package; a file with the names of the published ones (Caffe's, or those of the port to torch) is read.

    Reconstructed: no code is public, and the text that could be read names the factors but not their formulas. Edges are found
    at the size of the network's input.

    With `parts`, extras: `coarse` L and `edges` E (B, T, H, W); under `mode=multi` also `weights` (B, T, 3).

    `xai explain cat.jpg --method feature-cam`
    """

    base: Method = param(GradCAM(), "the method whose map is sharpened, with its parameters")
    mode: Literal["gate", "soft", "multi"] = param("gate", "map times edges; with a floor; or over three variants of the photo")
    enhance: Literal["add", "gain"] = param("add", "how mode=multi enhances edges: brightens them, or darkens all else")
    strength: float = param(0.5, "of the enhancement", ge=0, le=1)
    floor: float = param(0.3, "what mode=soft keeps where there is no edge", ge=0, le=1)
    sigma: float = param(1.0, "of the Gaussian before Sobel's filter, in pixels of the network's input; 0: none", ge=0)
    percentile: float = param(99.0, "of the edge magnitude that counts as 1", gt=0, le=100)
    parts: bool = param(False, "also keep the factors: coarse, edges and, of mode=multi, weights")
    hed: str | None = param(None, "a file of HED's weights: edges by that network, in place of Sobel's", later=True)

    name = "feature-cam"
    paper = "Clement, Yang and Cheng, 2024, arXiv:2403.05658"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.base, FeatureCAM):
            raise UsageError("feature-cam cannot wrap itself", expected="another method", hint="Try base=grad-cam.")
        # A map from 0 to 1 cannot hold negative values.
        object.__setattr__(self, "base", self.base.with_negative(keep=False))

    @property
    def class_specific(self) -> bool:  # type: ignore[override]
        return self.base.class_specific

    @property
    def decision_only(self) -> bool:  # type: ignore[override]
        return self.base.decision_only

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """Those of the base; HED's pass is counted as one of the network's."""
        each = self.base.cost(classifier)
        maps = each if self.mode != "multi" else each + each + each
        return maps if self.hed is None else maps + Cost(forward=1)

    def parameters_as_given(self) -> dict[str, Any]:
        """HED's weights count by their content, not by the folder that they lie in."""
        given = super().parameters_as_given()
        return given if self.hed is None else {**given, "hed": content_of(self.hed)}

    def require(self, classifier: Classifier) -> None:
        super().require(classifier)
        if self.hed is not None:
            read_hed(self.hed)

    def edges(self, classifier: Classifier, inputs: Tensor, photo: Tensor) -> Tensor:
        """(B, H, W), 0 to 1, of inputs (B, C, H, W) and the same in colours 0..1."""
        if self.hed is None:
            return edge_magnitude(photo, self.sigma, self.percentile)
        return hed_edges(self.hed, classifier.view.colours(inputs.detach()).float())

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        first = self.base.attribute(classifier, inputs, targets, seeds)
        photo = classifier.view.pixels(inputs.detach()).float()
        edges = self.edges(classifier, inputs, photo)
        coarse = enlarged(first.values, inputs)
        extras = {}
        if self.mode == "multi":
            maps, weights = [coarse], [first.targets.probability(first.logits)]
            for variant in (enhanced(photo, edges, self.enhance, self.strength), edges[:, None].expand_as(photo)):
                decided = Targets.decided(first.targets)
                other = self.base.attribute(classifier, classifier.view.normalise(variant), decided, seeds)
                maps.append(enlarged(other.values, inputs))
                weights.append(first.targets.probability(other.logits))
            extras["weights"] = torch.stack(weights, dim=2).clamp_min(0)
            coarse = weighted_mean(torch.stack(maps, dim=2), extras["weights"])
        lowest = self.floor if self.mode == "soft" else 0.0
        values = coarse * (lowest + (1 - lowest) * edges[:, None])
        if not self.parts:
            return Maps(values, first.targets, first.logits)
        extras |= {"coarse": coarse, "edges": edges[:, None].expand_as(coarse).clone()}
        return Maps(values, first.targets, first.logits, extras)


def enlarged(maps: Tensor, inputs: Tensor) -> Tensor:
    """Maps (B, T, h, w) at the inputs' size, each scaled to 0..1; a constant map becomes zeros."""
    height, width = inputs.shape[2:]
    return unit_range(upsample(maps.flatten(0, 1), (height, width))).unflatten(0, maps.shape[:2])


def weighted_mean(maps: Tensor, weights: Tensor) -> Tensor:
    """Mean (B, T, H, W) of maps (B, T, V, H, W) with weights (B, T, V); the first map where all weights are 0."""
    total = weights.sum(dim=2)[..., None, None]
    mean = (maps * weights[..., None, None]).sum(dim=2) / torch.where(total > 0, total, 1)
    return torch.where(total > 0, mean, maps[:, :, 0])


def enhanced(photo: Tensor, edges: Tensor, how: str, strength: float) -> Tensor:
    """Photos (B, C, H, W) with their edges (B, H, W) brightened, or with all else darkened, within 0..1."""
    if how == "gain":
        return photo * (strength + (1 - strength) * edges[:, None])
    return (photo + strength * edges[:, None]).clamp(0, 1)
