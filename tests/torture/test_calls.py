"""Many calls from Python in one process: memory stays, and the user's network is as it was after each."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torture.children import descriptors, resident
from torture.tally import Tally

import xaicli

pytestmark = [pytest.mark.torture, pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")]
METHODS = ("grad-cam", "rise@n_masks=16", "layer-cam", "center")
GROWTH = 24 << 20
"""Bytes over all calls after the first tenth."""


def network() -> nn.Module:
    """A user's network in training mode, with statistics that a pass in that mode would change."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
    )


def state_of(module: nn.Module) -> dict[str, object]:
    """All that a call might leave behind."""
    found: dict[str, object] = {name: (tensor.clone(), tensor.data_ptr()) for name, tensor in module.state_dict().items()}
    for name, part in module.named_modules():
        hooks = [len(getattr(part, kind)) for kind in vars(part) if kind.endswith("_hooks")]
        found[f"module {name}"] = (part.training, hooks, sorted(vars(part)), part.forward)
    for name, parameter in module.named_parameters():
        found[f"parameter {name}"] = (parameter.requires_grad, parameter.grad)
    return found


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_calls_in_one_process_take_no_more_memory_and_leave_the_network_as_it_was(amount: Callable[[int, int], int]) -> None:
    module = network()
    module(torch.zeros(2, 3, 24, 24))
    module.train()
    before, calls = state_of(module), amount(40, 1000)
    photo = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    tally = Tally("calls of xaicli.explain in one process")
    settled = files = 0
    for call in range(calls):
        classifier = xaicli.classifier(module, resize=24, crop=24)
        made = xaicli.explain(photo, classifier, METHODS[call % len(METHODS)], seed=call)
        assert np.isfinite(made[0].values).all()
        after = state_of(module)
        assert after.keys() == before.keys()
        assert [name for name in before if not same(before[name], after[name])] == []
        tally.count("explained; the network is as it was")
        if call == calls // 10:
            gc.collect()
            settled, files = resident(os.getpid()), descriptors(os.getpid())
    gc.collect()
    assert resident(os.getpid()) - settled < GROWTH
    assert descriptors(os.getpid()) <= files + 2
    tally.example = f"{settled >> 20} MiB after a tenth of the calls, {resident(os.getpid()) >> 20} MiB after all"
    tally.keep()
