"""The running mean of weights while they are trained (Polyak averaging by an exponential window).

Only tensors are kept. `torch.optim.swa_utils.AveragedModel` copies the whole network, which fails if hooks or other networks are
attached to it; it also has no warm-up, `apply` or `in_place`: with it this file was longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The mean of the state of some modules: floating tensors are averaged, counters copied.

    decay: the share of the mean that a step keeps, lower in the first steps, so that the initial weights do not linger; 0 keeps
    no mean and uses the weights themselves.
    """

    def __init__(self, modules: Sequence[nn.Module], decay: float) -> None:
        self.decay = decay
        state = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        self.live = [tensor.detach() for tensor in state] if decay else []
        self.mean = [tensor.clone() for tensor in self.live]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        for mean, live in zip(self.mean, self.live, strict=True):
            if mean.is_floating_point():
                mean.lerp_(live, 1 - decay)
            else:
                mean.copy_(live)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the `with` the modules hold the mean; their weights are restored afterwards."""
        kept = [tensor.clone() for tensor in self.live]
        try:
            self.apply()
            yield
        finally:
            copy_into(self.live, kept)

    def apply(self) -> None:
        """Put the mean into the modules, permanently."""
        copy_into(self.live, self.mean)

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "mean": self.mean}

    def load(self, state: dict[str, object]) -> None:
        """Continue from a state."""
        steps, mean = state["steps"], state["mean"]
        assert isinstance(steps, int)
        assert isinstance(mean, list)
        self.steps = steps
        copy_into(self.mean, mean)


@torch.no_grad()
def copy_into(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
