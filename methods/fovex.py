"""FovEx (Panda et al., 2025): a sharp window moves over the blurred photo to where the network sees its target best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from xaicli.errors import RunError, UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.outputs import Outputs
from xaicli.passes.memory import chunk_for, in_chunks
from xaicli.passes.queue import clean_logits
from xaicli.passes.seeds import stream
from xaicli.targets import NO_CLASS, Resolved, Targets

PASSES_KEPT = 2
"""A pass that keeps its activations for the way back takes about this many times the memory of one that does not."""

SIDE = 224
"""The shorter side of a photo on which the blur is as its parameters say; on others it is in proportion."""


@dataclass(frozen=True, kw_only=True)
class FovEx(Method):
    """FovEx: a round window, moved by gradient steps over the blurred photo to where the network sees its target best.

    `map = sum_t w_t G(p_t)`: fixation p_t is the place of the window `G(p) = exp(-|place - p|^2 / s)` for which
    `x + (blurred - x) clip(1 - (R_t + G(p)), 0, 1)` gives the least loss; R holds what earlier fixations have seen,
    `R_{t+1} = memory R_t + G(p_t)`. The loss is -log p of the target, or less the score under a contrast. Each fixation starts
    in the middle and takes `n_steps` signed gradient steps of length `lr`. Coordinates go from -1 to 1 along each axis, so that s
    is no standard deviation: 0.15 is a Gaussian of 30 pixels in a photo of 224. Maps are (B, T, H, W) at the input's
    resolution: a sum of equal blobs, so look elsewhere for fine structure. No layer is needed.

    The authors scale the map to 0..1; here it is the sum itself, which ranks alike. Where the default differs from their code: a
    fixation is the place where its loss was measured, not the place one step on; it stays inside the photo; random restarts
    depend on the photo's seed.

    Extras: `steps` (B, T, N, H, W), the map after each fixation; `scanpath` (B, T, N, 2), row and column of each, 0 to 1 of the
    input; `loss` (B, T, N); `blur_loss` (B, T), by how much the blurred photo is worse than the photo: near 0 the network does
    not need what the blur removes, and the path means little.

    `xai explain cat.jpg --method fovex --steps`
    """

    n_fixations: int = param(10, "places that are looked at, one after the other", ge=1)
    n_steps: int = param(20, "gradient steps for each of them", ge=1)
    lr: float = param(0.1, "length of a step; a photo's side is 2", gt=0)
    fovea: float = param(0.15, "s of the window", gt=0)
    memory: float = param(0.1, "share of what was seen that stays sharp from one fixation to the next", ge=0, le=1)
    restart: bool = param(True, "go on from a random place after a step that was no better; else from a place near by")
    map_fovea: float = param(0.15, "s of the blobs in the map", gt=0)
    blur_kernel: int = param(41, "side of the blur's window, odd, in pixels of a photo of 224", ge=1, later=True)
    blur_sigma: float = param(10.0, "standard deviation of the blur, in pixels of a photo of 224", gt=0, later=True)
    weights: Literal["equal", "loss", "probability"] = param("equal", "w_t: 1, softmax of -loss, or the target's probability")

    name = "fovex"
    paper = "Panda, Tiezzi, Vilas, Roig, Eskofier and Zanca, IJCV 2025, arXiv:2408.02123"
    needs = Needs.GRADIENTS
    stochastic = True
    stepwise = True
    sign = Sign.NONNEGATIVE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blur_kernel % 2 == 0:
            raise UsageError(f"fovex: blur_kernel={self.blur_kernel}", expected="an odd number")

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """The photo, the blurred photo, and each step of each fixation forward and back."""
        passes = self.n_fixations * self.n_steps
        return Cost(2 + passes, passes)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        # Tensors of a caller's inference mode would be of no use to gradients.
        with torch.inference_mode(False), torch.no_grad():
            return self.walked(classifier, inputs.detach().clone(), targets, seeds)

    def walked(self, classifier: Classifier, photos: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, photos)
        chosen = targets.resolve(logits).detached()
        walk = Walk(
            self, classifier, photos, blur(photos, self.blur_kernel, self.blur_sigma), each_target(chosen), seeds.tolist()
        )
        chunk = chunk_for(classifier, walk.size, times=PASSES_KEPT, what=f"{classifier.name} with gradients")
        with attribution_mode(classifier.torch_module):
            found = [part for _, part in in_chunks(walk.scanpaths, len(walk.targets.classes), chunk)]
        shape = chosen.classes.shape
        places, losses, probabilities = (torch.cat(parts).unflatten(0, shape) for parts in zip(*found, strict=True))
        blobs = window(places.flatten(0, 2), walk.size, self.map_fovea).unflatten(0, losses.shape)
        steps = (self.shares(losses, probabilities)[..., None, None] * blobs).cumsum(dim=2)
        worse = walk.loss_of(clean_logits(classifier, walk.blurred)) - walk.loss_of(logits)
        extras = {"steps": steps, "scanpath": (places + 1) / 2, "loss": losses, "blur_loss": worse.view(shape)}
        return Maps(steps[:, :, -1].clone(), chosen, logits, extras)

    def shares(self, losses: Tensor, probabilities: Tensor) -> Tensor:
        """What each fixation counts in the map, (B, T, N)."""
        if self.weights == "loss":
            return (-losses).softmax(dim=2)
        return probabilities.clamp_min(0) if self.weights == "probability" else torch.ones_like(losses)


@dataclass(frozen=True, eq=False)
class Walk:
    """Scan paths of photos (B, C, H, W), one for each of their targets. targets: one row a photo and target, (B T, 1), those of a
    photo side by side; seeds: one a photo."""

    method: FovEx
    classifier: Classifier
    photos: Tensor
    blurred: Tensor
    targets: Resolved
    seeds: list[int]

    @property
    def size(self) -> tuple[int, int]:
        return self.photos.shape[2], self.photos.shape[3]

    def photo_of(self, row: int) -> int:
        return row * len(self.photos) // len(self.targets.classes)

    def loss_of(self, logits: Tensor) -> Tensor:
        """The loss (B T,) of each target on logits (B, C) of the photos."""
        rows = [self.photo_of(row) for row in range(len(self.targets.classes))]
        return loss(self.targets, logits[rows])

    def scanpaths(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of rows `start` to `stop`: fixations (R, N, 2), their losses and the target's probabilities there (R, N)."""
        rows = [self.photo_of(row) for row in range(start, stop)]
        photos, targets = self.photos[rows], self.targets[start:stop]
        blurring = self.blurred[rows] - photos
        names = [f"fovex {index} {against}" for index, against in torch.cat([targets.classes, targets.against], dim=1).tolist()]
        streams = [stream(self.seeds[photo], name) for photo, name in zip(rows, names, strict=True)]
        seen = photos.new_zeros((len(rows), 1, *self.size))
        found = []
        for _ in range(self.method.n_fixations):
            network = FoveatedNetwork(self.classifier, photos, blurring, targets, seen, self.method.fovea)
            best = search(network, self.method, streams, photos.device)
            seen = self.method.memory * seen + window(best.places, self.size, self.method.fovea)[:, None]
            found.append(best)
        places, losses, probabilities = (
            [getattr(best, name) for best in found] for name in ("places", "losses", "probabilities")
        )
        return torch.stack(places, dim=1), torch.stack(losses, dim=1), torch.stack(probabilities, dim=1)


@dataclass(frozen=True, eq=False)
class FoveatedNetwork:
    """The network on photos (R, C, H, W) that are sharp around one place each, and where earlier fixations saw them.

    blurring: what the blur adds to each pixel.
    """

    classifier: Classifier
    photos: Tensor
    blurring: Tensor
    targets: Resolved
    seen: Tensor
    fovea: float

    def __call__(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and probability (R,) of each target at places (R, 2)."""
        sharp = window(places, (self.photos.shape[2], self.photos.shape[3]), self.fovea)[:, None]
        logits = self.classifier(foveated(self.photos, self.blurring, self.seen + sharp))
        return loss(self.targets, logits), self.targets.probability(logits)[:, 0]


@dataclass(frozen=True, eq=False)
class Fixations:
    """places: (R, 2), row and column from -1 to 1; losses, probabilities: (R,) there."""

    places: Tensor
    losses: Tensor
    probabilities: Tensor


def search(
    score_at: Callable[[Tensor], tuple[Tensor, Tensor]], method: FovEx, streams: list[np.random.Generator], device: torch.device
) -> Fixations:
    """The best place of each row among `method.n_steps` of them; all begin in the middle of the photo."""
    places = torch.zeros((len(streams), 2), device=device)
    best = Fixations(places, torch.full_like(places[:, 0], torch.inf), torch.zeros_like(places[:, 0]))
    for _ in range(method.n_steps):
        at = places.clone().requires_grad_(True)
        losses, probabilities = score_at(at)
        if not losses.requires_grad:
            raise RunError("the network passes no gradients to its input", hint="Use a method that needs the forward pass alone.")
        (slope,) = torch.autograd.grad(losses.sum(), at)
        losses, probabilities = losses.detach(), probabilities.detach()
        improved = losses < best.losses
        best = Fixations(
            torch.where(improved[:, None], places, best.places),
            torch.where(improved, losses, best.losses),
            torch.where(improved, probabilities, best.probabilities),
        )
        # Drawn whether needed or not, so that a row's draws do not depend on its luck.
        drawn = torch.from_numpy(np.stack([one.uniform(-1, 1, 2) for one in streams])).to(places)
        ahead = places - method.lr * slope.sign()
        elsewhere = drawn if method.restart else ahead + drawn * method.lr / 2
        places = torch.where(improved[:, None], ahead, elsewhere).clamp(-1, 1)
    return best


def window(places: Tensor, size: tuple[int, int], fovea: float) -> Tensor:
    """`exp(-|place - p|^2 / fovea)` (N, H, W) around places (N, 2): row and column from -1 to 1, on the outermost pixels."""
    rows, columns = (torch.linspace(-1, 1, side, device=places.device) for side in size)
    down, across = (rows - places[:, :1]) ** 2, (columns - places[:, 1:]) ** 2
    return torch.exp(-(down[:, :, None] + across[:, None, :]) / fovea)


def foveated(photos: Tensor, blurring: Tensor, sharp: Tensor) -> Tensor:
    """Photos (N, C, H, W) with their blurring where `sharp` (N, 1, H, W) is below 1."""
    return photos + blurring * (1 - sharp).clamp(0, 1)


def blur(photos: Tensor, kernel: int, sigma: float) -> Tensor:
    """Photos after a Gaussian of that width on 224 pixels, in proportion to the shorter side."""
    side = min(photos.shape[2:])
    window = min(2 * int(kernel / SIDE * side / 2) + 1, 2 * side - 1)
    wide = sigma / SIDE * side
    return gaussian_blur(photos, [window, window], [wide, wide])


def loss(targets: Resolved, logits: Tensor) -> Tensor:
    """Loss (R,) of logits (R, C) for targets (R, 1): -log p; under a contrast, or where outputs are no probabilities, less the
    score."""
    score = targets.logit(logits)[:, 0]
    contrast = targets.against[:, 0] != NO_CLASS
    if targets.outputs is Outputs.SOFTMAX:
        return torch.where(contrast, -score, -logits.log_softmax(dim=1).gather(1, targets.classes)[:, 0])
    if targets.outputs is Outputs.SIGMOID:
        return torch.where(contrast, -score, -torch.nn.functional.logsigmoid(score))
    return -score


def each_target(chosen: Resolved) -> Resolved:
    """Targets (B, T) as rows of one target each, (B T, 1)."""
    parts = {name: getattr(chosen, name).reshape(-1, 1) for name in ("classes", "against", "scores")}
    return replace(chosen, **parts)
