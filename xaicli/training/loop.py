"""The training loop: steps, held-out figures, snapshots, and an early end if the loss is no longer finite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import RunError, is_out_of_memory
from xaicli.network.modes import eval_mode
from xaicli.task import Schedule, Task
from xaicli.training import schedule as schedules
from xaicli.training.average import Average
from xaicli.training.batches import Batch, Batches
from xaicli.training.frozen import frozen
from xaicli.training.frozen_attention import contiguous_inside
from xaicli.training.processes import ALONE, Processes, losses_of
from xaicli.training.snapshot import AGAIN, read_snapshot, write_snapshot
from xaicli.training.stopping import stop_signals
from xaicli.untrusted import is_there

Row = dict[str, float]
"""Figures of one epoch by name: `lr`, the terms of the loss, and `held NAME` of held-out photos."""


TRACE = 200
"""Approximate number of points of a run's curves."""


@dataclass(frozen=True)
class Step:
    """One batch was trained on: the `done`-th of `total`; epochs count from 1."""

    done: int
    total: int
    epoch: int
    terms: Mapping[str, float]
    lr: float


@dataclass(frozen=True)
class Epoch:
    """An epoch is over, the `number`-th of `total`. row: means of the loss terms over it, and figures of held-out photos."""

    number: int
    total: int
    row: Row


@dataclass(eq=False)
class Training:
    """A training run.

    held: makes the batches of held-out photos; snapshot: the file that keeps the state; identity: what a snapshot must agree
    with; bf16: passes run under autocast; save_every: seconds between snapshots, 0 for one per step; resume: continue from the
    snapshot if there is one; processes: those that train together; again: how a user starts over.
    """

    task: Task
    batches: Batches
    schedule: Schedule
    snapshot: Path
    identity: Mapping[str, Any]
    held: Callable[[], Iterator[Batch]] | None = None
    bf16: bool = False
    save_every: float = 300.0
    resume: bool = True
    processes: Processes = ALONE
    again: str = AGAIN
    history: list[Row] = field(default_factory=list, init=False)
    trace: list[Row] = field(default_factory=list, init=False)
    done: int = field(default=0, init=False)
    sums: Row = field(default_factory=dict, init=False)
    window: Row = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.modules: Sequence[nn.Module] = list(self.task.modules.values())
        self.optimizer = schedules.make_optimizer(self.task.modules, self.schedule, self.task.rate_of)
        self.scheduler = schedules.make_scheduler(self.optimizer, self.schedule, self.total)
        self.average = Average(self.modules, self.schedule.ema)
        self.losses = losses_of(self.task, self.processes)

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.schedule.epochs * self.batches.steps

    def run(self) -> Iterator[Step | Epoch]:
        """Train to the end; afterwards the modules hold the final weights, in evaluation mode.

        Raises RunError if the loss or a gradient is no longer finite, or if a frozen network was changed. On SIGINT and SIGTERM
        the state is saved first.
        """
        if self.resume and is_there(self.snapshot):
            self.load()
        saved = time.monotonic()
        with frozen(self.task.frozen), self.fast_attention(), stop_signals() as stop, evaluated_afterwards(self.modules):
            while len(self.history) < self.schedule.epochs:
                epoch = len(self.history)
                start = self.done - epoch * self.batches.steps
                for batch in self.batches.epoch(epoch, start) if start < self.batches.steps else ():
                    yield self.step(batch, epoch)
                    if stop.number or time.monotonic() - saved >= self.save_every:
                        self.save()
                        saved = time.monotonic()
                        stop.act()
                row = {name: value / self.batches.steps for name, value in self.sums.items()}
                row |= {f"held {name}": value for name, value in self.evaluate().items()}
                self.history.append(row)
                self.sums = {}
                self.save()
                saved = time.monotonic()
                yield Epoch(epoch + 1, self.schedule.epochs, row)
                stop.act()
            self.average.apply()

    def step(self, batch: Batch, epoch: int) -> Step:
        """Train on one batch: losses, gradients, weights, learning rate."""
        lr = float(self.scheduler.get_last_lr()[0])
        with self.kept_apart(), torch.random.fork_rng(devices=cuda_of(self.batches.device)):
            # Dropout and the like use random numbers of this step, so that a resumed run draws the same.
            torch.manual_seed(self.processes.step_seed(self.batches.seed, self.done))
            with self.autocast():
                losses = self.losses(batch.inputs, batch.labels)
            total = self.task.total(losses)
            own = {name: float(value.detach()) for name, value in {**losses, "loss": total}.items()}
            terms = self.processes.mean(own, self.batches.device)
            self.require_finite(terms, batch)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total)
        self.require_gradients(terms)
        schedules.clip(self.modules, self.schedule.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update()
        self.done += 1
        self.note({"lr": lr, **terms})
        return Step(self.done, self.total, epoch + 1, terms, lr)

    def note(self, figures: Row) -> None:
        """Add a step's figures to the sums of its epoch and of its interval of the trace."""
        for sums in (self.sums, self.window):
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
        every = max(1, self.total // TRACE)
        if self.done % every == 0:
            self.trace.append({"epoch": self.done / self.batches.steps, **{name: v / every for name, v in self.window.items()}})
            self.window = {}

    def evaluate(self) -> Row:
        """Means over held-out photos with the averaged weights; empty without such photos."""
        sums: Row = {}
        photos = 0
        if self.held is None:
            return {}
        with self.average.in_place(), eval_mode(*self.modules), torch.no_grad():
            for batch in self.held():
                with self.kept_apart(), self.autocast():
                    figures = self.task.evaluate(batch.inputs, batch.labels)
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + float(value.float().mean()) * len(batch.inputs)
                photos += len(batch.inputs)
        return {name: value / photos for name, value in sums.items()}

    def kept_apart(self) -> contained:
        return contained(f"{self.task.classifier.name}, when {self.task.name} was trained,", passing=is_out_of_memory)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.batches.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def fast_attention(self) -> AbstractContextManager[None]:
        slow = self.bf16 and self.batches.device.type == "cpu"
        return contiguous_inside(self.task.frozen.values()) if slow else nullcontext()

    def require_finite(self, terms: Mapping[str, float], batch: Batch) -> None:
        """Raise RunError if a term of the loss is NaN or infinite."""
        if all(abs(value) < float("inf") for value in terms.values()):
            return
        listed = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        if not bool(batch.inputs.isfinite().all()):
            raise RunError(f"a photo of step {self.done + 1:,} gives inputs that are not finite ({listed})")
        raise RunError(
            f"the loss is no longer finite at step {self.done + 1:,} of {self.total:,} ({listed})", hint=self.what_helps()
        )

    def require_gradients(self, terms: Mapping[str, float]) -> None:
        """Raise RunError if a gradient is NaN or infinite, before it changes the weights."""
        gradients = [tensor.grad for module in self.modules for tensor in module.parameters() if tensor.grad is not None]
        norms: Sequence[Tensor] = torch._foreach_norm(gradients) if gradients else ()
        if norms and not bool(torch.stack(list(norms)).isfinite().all()):
            found = f"gradients are no longer finite at step {self.done + 1:,} of {self.total:,} (loss {terms['loss']:g})"
            raise RunError(found, hint=self.what_helps())

    def what_helps(self) -> str:
        lr = f"Lower the learning rate (--lr {self.schedule.lr / 10:g})"
        kept = f" The state before it is in {self.snapshot.name}." if is_there(self.snapshot) else ""
        return f"{lr}, or train in --precision fp32.{kept}" if self.bf16 else f"{lr}.{kept}"

    def save(self) -> None:
        """Write the state to disk."""
        if not self.processes.leads:
            return
        write_snapshot(
            self.snapshot,
            {
                "identity": dict(self.identity),
                "done": self.done,
                "sums": self.sums,
                "window": self.window,
                "trace": self.trace,
                "history": self.history,
                "modules": {name: dict(module.state_dict()) for name, module in self.task.modules.items()},
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "average": self.average.state(),
            },
        )

    def load(self) -> None:
        """Read the state from disk; raises UsageError if it belongs to another run."""
        state = read_snapshot(self.snapshot, self.identity, self.again)
        for name, module in self.task.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.average.load(state["average"])
        self.done, self.sums, self.history = state["done"], state["sums"], state["history"]
        self.window, self.trace = state["window"], state["trace"]


@contextmanager
def evaluated_afterwards(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Train mode inside, evaluation mode afterwards."""
    try:
        for module in modules:
            module.train()
        yield
    finally:
        for module in modules:
            module.eval()


def cuda_of(device: torch.device) -> list[int]:
    """The devices whose random generators are saved."""
    return [device.index or 0] if device.type == "cuda" else []
