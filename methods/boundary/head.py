"""The linear head of a network: its weights, and the features that it read in a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.targets import NO_CLASS


@dataclass(eq=False)
class HeadSeen:
    """The calls of the network's linear layers in the last forward pass: layer, input, output."""

    calls: list[tuple[nn.Linear, Tensor, Tensor]] = field(default_factory=list)

    def head(self, classifier: Classifier, logits: Tensor) -> tuple[nn.Linear, Tensor]:
        """The linear layer whose output is the logits (B, C), and its input (B, K); raises UsageError if there is none."""
        for layer, taken, given in reversed(self.calls):
            if given.shape == logits.shape and torch.allclose(given.float(), logits, rtol=0, atol=0, equal_nan=True):
                return layer, taken.detach().float()
        raise UsageError(
            f"the outputs of {classifier.name} do not come from a linear layer",
            expected="a network that ends in a linear layer",
            hint="Use boundary@space=input.",
        )


@contextmanager
def watching_head(module: nn.Module) -> Iterator[HeadSeen]:
    """Watch the linear layers of a network."""
    seen = HeadSeen()

    def record(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(layer, nn.Linear) and args and isinstance(output, Tensor):
            seen.calls.append((layer, args[0], output))

    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.Linear):
                stack.callback(part.register_forward_hook(record).remove)
        yield seen


@dataclass(frozen=True, eq=False)
class Projection:
    """The way from features to the boundary between a target and its rival, (B, T) each. rival: the other class, -1 for none;
    margin: `f = z_target - z_rival`; steepness: `|w|`, with `w = W_target - W_rival`; of a label without a rival `f = z_target`
    and `w = W_target`."""

    rival: Tensor
    margin: Tensor
    steepness: Tensor

    @property
    def step(self) -> Tensor:
        """`f / |w|^2` (B, T): how many w lead from the features to the boundary."""
        return self.margin / self.steepness.square().clamp_min(torch.finfo(torch.float32).tiny)

    @property
    def distance(self) -> Tensor:
        """`|f| / |w|` (B, T), in units of the features; infinite where two classes have the same weights."""
        return self.margin.abs() / self.steepness


def apart(head: nn.Linear, targets: Tensor, rival: Tensor) -> Tensor:
    """`W_target - W_rival` (B, T, K) of classes (B, T); where the rival is -1, `W_target`."""
    weights = head.weight.detach().float()
    return weights[targets] - torch.where((rival != NO_CLASS)[..., None], weights[rival.clamp_min(0)], 0)


def third_class(logits: Tensor, targets: Tensor, rival: Tensor) -> Tensor:
    """1 where some other class is above both target and rival (B, T) in logits (B, T, C), else 0: two classes that are as likely
    need not be the most likely."""
    both = torch.stack([targets, rival.clamp_min(0)], dim=2)
    own = logits.gather(2, both).amax(dim=2)
    others = logits.scatter(2, both, -torch.inf).amax(dim=2)
    return (others > own).float()


def project(head: nn.Linear, logits: Tensor, targets: Tensor, against: Tensor, *, labels: bool) -> Projection:
    """Towards the boundary of each target (B, T) with the class against it, or, where that is -1, with the nearest rival:
    `argmin_j |z_target - z_j| / |W_target - W_j|`. labels: each output decides by itself, and its boundary is `z = 0`."""
    weights = head.weight.detach().float()
    if labels:
        margin = logits.gather(1, targets)
        contrast = against != NO_CLASS
        other = logits.gather(1, against.clamp_min(0))
        return Projection(against, torch.where(contrast, margin - other, margin), apart(head, targets, against).norm(dim=2))
    margins = logits.gather(1, targets)[..., None] - logits[:, None, :]
    steepness = torch.stack([torch.cdist(weights[row], weights, compute_mode="donot_use_mm_for_euclid_dist") for row in targets])
    distances = torch.where(steepness > 0, margins.abs() / torch.where(steepness > 0, steepness, 1), torch.inf)
    rival = torch.where(against == NO_CLASS, distances.scatter(2, targets[..., None], torch.inf).argmin(dim=2), against)
    return Projection(rival, margins.gather(2, rival[..., None])[..., 0], steepness.gather(2, rival[..., None])[..., 0])
