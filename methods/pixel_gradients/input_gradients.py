"""Gradients of scores with respect to the photo: of the clean pass, and averaged over many points near or before the photo.

The network is only called: no hook and no `.grad` is set. Works under a caller's `inference_mode`, on frozen networks, and
for several targets from one forward pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xaicli.errors import RunError
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.passes.memory import chunk_for, in_chunks
from xaicli.targets import Resolved, Targets

PASSES_KEPT = 2
"""A pass that keeps its activations for a backward pass takes about this many times the memory of one that does not."""


@dataclass(frozen=True, eq=False)
class CleanPass:
    """The clean photos' forward pass: logits (B, C), the targets resolved on them, and the gradients (B, T, 3, H, W) of
    their scores."""

    logits: Tensor
    chosen: Resolved
    gradients: Tensor


def clean_pass(classifier: Classifier, inputs: Tensor, targets: Targets) -> CleanPass:
    """One forward pass of the photos (B, 3, H, W) and one backward pass per target.

    Raises RunError if the logits have no gradient with respect to the input.
    """
    with attribution_mode(classifier.torch_module):
        photos = leaf(inputs)
        logits = classifier(photos.clone())
        chosen = targets.resolve(logits)
        gradients = gradients_of(chosen.scores, photos, classifier.name)
    return CleanPass(logits.detach(), chosen.detached(), gradients)


def leaf(inputs: Tensor) -> Tensor:
    """A copy of the inputs at which gradients are taken. Networks get a copy of that, since some change their input in place."""
    return inputs.detach().clone().requires_grad_(True)


def gradients_of(scores: Tensor, photos: Tensor, model: str) -> Tensor:
    """Gradients (B, T, 3, H, W) of scores (B, T), each row of which depends on its own photo alone."""
    if not scores.requires_grad:
        raise RunError(f"{model} passes no gradients to its input", hint="Use a method that needs the forward pass alone.")
    last = scores.shape[1] - 1
    return torch.stack(
        [torch.autograd.grad(scores[:, t].sum(), photos, retain_graph=t < last)[0] for t in range(last + 1)], dim=1
    )


@dataclass(frozen=True, eq=False)
class Point:
    """A point (3, H, W) of input space at which the gradient is taken for the photo `row`, and the weight it is counted
    with: a number, or one for each element (3, H, W)."""

    row: int
    at: Tensor
    weight: Tensor | float


def weighted_gradients(
    classifier: Classifier, points: Iterable[Point], chosen: Resolved, shape: Sequence[int], powers: tuple[int, ...] = (1,)
) -> list[Tensor]:
    """For each power, the sum over a photo's points of weight times the gradient to that power: (B, T, 3, H, W), float32.

    Points of all photos share batches, whose size follows from the device's memory and is halved where that runs out. A
    point is passed forward once for all targets. shape: (B, 3, H, W).
    """
    chunk = chunk_for(classifier, (shape[2], shape[3]), times=PASSES_KEPT, what=f"{classifier.name} with gradients")
    photos, count = chosen.classes.shape
    waiting = iter(points)
    with attribution_mode(classifier.torch_module):
        sums = [torch.zeros((photos, count, *shape[1:]), device=classifier.device) for _ in powers]
        while batch := list(itertools.islice(waiting, chunk.size)):
            work = partial(point_gradients, classifier, batch, chosen)
            for start, gradients in in_chunks(work, len(batch), chunk):
                for point, gradient in zip(batch[start:], gradients, strict=False):
                    for total, power in zip(sums, powers, strict=True):
                        total[point.row] += point.weight * gradient**power
    return sums


def point_gradients(classifier: Classifier, batch: Sequence[Point], chosen: Resolved, start: int, stop: int) -> Tensor:
    """Gradients (N, T, 3, H, W) of the targets' scores at the N points from `start` to `stop`."""
    points = batch[start:stop]
    photos = leaf(torch.stack([point.at for point in points]))
    rows = torch.tensor([point.row for point in points], device=chosen.classes.device)
    return gradients_of(chosen[rows].logit(classifier(photos.clone())), photos, classifier.name)
