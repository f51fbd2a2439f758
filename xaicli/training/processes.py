"""Several processes that train one network together, as torchrun starts them, by torch's DistributedDataParallel.

    torchrun --nproc-per-node 2 -m xaicli.cli.main train t-tame --model resnet50 --data photos/ -o head.safetensors

Each process takes its share of every batch, and gradients are averaged, so that a step sees the same photos as in one process.
What differs from one process: batch norm takes its statistics over a share (those of the first process are kept), and a loss over
all pairs of a batch (the area of T-TAME's maps) sees the pairs of a share. Snapshots, held-out figures and the checkpoint are the
first process's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from xaicli.errors import UsageError
from xaicli.passes.seeds import digest
from xaicli.task import Task
from xaicli.words import count

PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which alone decides held-out photos."""


@dataclass(frozen=True)
class Processes:
    """This process's rank among `count`."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and says what is done."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of a batch that this process trains on."""
        return rows[self.rank :: self.count]

    def step_seed(self, seed: int, step: int) -> int:
        """The seed of a step's random numbers, dropout's say: each process has its own, the first that of a process alone."""
        return digest(seed, "training step", step, *([self.rank] if self.rank else [])) >> 1

    def mean(self, figures: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """The mean of each figure over the processes, which is that of the whole batch, since shares are equal."""
        if self.count == 1:
            return dict(figures)
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=device)
        distributed.all_reduce(values)
        return dict(zip(figures, (values / self.count).tolist(), strict=True))

    def batch_size(self, wanted: int, photos: int) -> int:
        """The size of batches of which each process gets an equal share; where there are fewer photos than `wanted`, as many of
        them as can be shared evenly. Raises UsageError.
        """
        together = count(self.count, "process", "processes")
        if photos < self.count:
            raise UsageError(f"{count(photos, 'photo')} for {together}", expected="at least one for each")
        if wanted > photos:
            return photos - photos % self.count
        if wanted % self.count:
            hint = f"Write --batch-size {max(wanted - wanted % self.count, self.count)}."
            raise UsageError(f"batches of {wanted} for {together}", expected=f"a multiple of {self.count}", hint=hint)
        return wanted


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, told by its environment; without it this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not distributed.is_torchelastic_launched():
        yield ALONE
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()


class LossModule(nn.Module):
    """A task's losses as the forward pass of one module, which DistributedDataParallel can wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.trained = nn.ModuleList(task.modules.values())
        self.losses = task.losses

    def forward(self, inputs: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        return self.losses(inputs, labels)


def losses_of(task: Task, processes: Processes) -> nn.Module:
    """What gives the losses of a batch; with several processes its backward pass averages gradients over them."""
    module = LossModule(task)
    return module if processes.count == 1 else DistributedDataParallel(module)
