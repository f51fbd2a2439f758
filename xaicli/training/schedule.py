"""Torch's optimiser and learning rate for a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from xaicli.errors import UsageError
from xaicli.task import Schedule

MOMENTA = (0.85, 0.95)


def check(schedule: Schedule) -> None:
    """Raise UsageError for a number that makes no sense in a schedule."""
    for name, value, least in (
        ("epochs", schedule.epochs, 1),
        ("batch-size", schedule.batch_size, 1),
        ("weight-decay", schedule.weight_decay, 0),
    ):
        if not value >= least:
            raise UsageError(f"--{name} {value}", expected=f"at least {least}")
    if not 0 < schedule.lr < float("inf"):
        raise UsageError(f"--lr {schedule.lr}", expected="a number above 0")


def make_optimizer(
    modules: Mapping[str, nn.Module], schedule: Schedule, rate_of: Callable[[str], float] = lambda name: 1.0
) -> Optimizer:
    """The optimiser over all trainable parameters, in groups of one learning rate and weight decay, those that decay first.

    rate_of: what the learning rate of a parameter, `MODULE.NAME`, is multiplied by.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                key = (decays(name, parameter, schedule.decay), rate_of(f"{prefix}.{name}"))
                groups.setdefault(key, []).append(parameter)
    if not groups:
        raise UsageError("nothing is left to train: every weight is frozen")
    parts = [
        {"params": parameters, "weight_decay": schedule.weight_decay if decayed else 0.0, "lr": schedule.lr * rate}
        for (decayed, rate), parameters in sorted(groups.items(), key=lambda group: not group[0][0])
    ]
    if schedule.optimizer == "sgd":
        return SGD(parts, lr=schedule.lr, momentum=schedule.momentum, nesterov=schedule.nesterov)
    return AdamW(parts, lr=schedule.lr, betas=(schedule.momentum, schedule.beta2), amsgrad=schedule.amsgrad)


def decays(name: str, parameter: nn.Parameter, what: str) -> bool:
    """Whether weight decay acts on a parameter, by the rule `all`, `weights` or `matrices`."""
    if what == "weights":
        return name.rpartition(".")[2] != "bias"
    return what == "all" or parameter.ndim > 1


def make_scheduler(optimizer: Optimizer, schedule: Schedule, steps: int) -> LRScheduler:
    """The learning rate over `steps` batches in all, stepped after each batch."""
    if schedule.shape == "step":
        milestones = [round(share * steps) for share in schedule.milestones]
        return MultiStepLR(optimizer, milestones, schedule.gamma)
    low, high = MOMENTA
    # Torch divides by the length of the warm-up, which is zero for a single step.
    warm_up = schedule.warm_up if schedule.warm_up * steps != 1 else schedule.warm_up / 2
    return OneCycleLR(
        optimizer,
        max_lr=[float(group["lr"]) for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=warm_up,
        div_factor=schedule.start_divisor,
        final_div_factor=schedule.end_divisor,
        cycle_momentum=schedule.cycle_momentum and schedule.momentum > 0,
        base_momentum=low,
        max_momentum=high,
    )


def clip(modules: Iterable[nn.Module], largest: float) -> None:
    """Scale gradients down to a norm of at most `largest` over all modules; 0 does nothing."""
    if largest:
        torch.nn.utils.clip_grad_norm_([p for module in modules for p in module.parameters() if p.grad is not None], largest)
