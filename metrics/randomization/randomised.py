"""Randomising a network's weights from the output down, for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from xaicli.passes.seeds import stream


@dataclass(eq=False)
class Randomiser:
    """The parameters of a network by name, and their original values."""

    module: nn.Module
    seed: int
    saved: dict[str, Tensor] = field(default_factory=dict)

    def randomise(self, names: Sequence[str]) -> None:
        """Replace parameters by normal numbers of the same mean and standard deviation, drawn under each parameter's name.

        So activations keep their scale, and each photo meets the same random network.
        """
        parameters = dict(self.module.named_parameters())
        with torch.inference_mode():
            for name in names:
                parameter = parameters[name]
                self.saved.setdefault(name, parameter.detach().clone())
                spread = float(parameter.float().std()) if parameter.numel() > 1 else 0.0
                drawn = stream(self.seed, name).standard_normal(tuple(parameter.shape), dtype=np.float32)
                values = torch.from_numpy(np.asarray(drawn)) * spread + float(parameter.float().mean())
                parameter.copy_(values.to(parameter))

    def restore(self) -> None:
        parameters = dict(self.module.named_parameters())
        with torch.inference_mode():
            for name, values in self.saved.items():
                parameters[name].copy_(values)
        self.saved.clear()


@contextmanager
def randomiser(module: nn.Module, seed: int) -> Iterator[Randomiser]:
    """Inside the `with`, weights may be randomised; they are restored bit for bit afterwards, also on an exception."""
    keeper = Randomiser(module, seed)
    try:
        yield keeper
    finally:
        keeper.restore()


def parameters_top_down(module: nn.Module, begun: Sequence[str]) -> list[list[str]]:
    """Names of the parameters, module by module, the last to run first; begun: modules by name in the order in which they begin.

    A module that is not called itself (its parent reads its weights) counts with its parent.
    """
    calls = {path: place for place, path in enumerate(begun)}
    owners: dict[str, list[str]] = {}
    for name, _ in module.named_parameters():
        owners.setdefault(name.rpartition(".")[0], []).append(name)

    def first_call(owner: str) -> int:
        while owner and owner not in calls:
            owner = owner.rpartition(".")[0]
        return calls.get(owner, 0)

    # A sort that keeps ties: modules without a call of their own stay in the order in which they are defined.
    return [owners[owner] for owner in sorted(owners, key=first_call)][::-1]
