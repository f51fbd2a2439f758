"""Learning rates and optimisers, against the figures of the specifications."""

from __future__ import annotations

import dataclasses
import math

import pytest
from torch import nn

from xaicli.errors import UsageError
from xaicli.task import Schedule
from xaicli.training.schedule import check, clip, make_optimizer, make_scheduler

CYCLE = Schedule(epochs=1, batch_size=4, lr=1e-3, weight_decay=5e-4, nesterov=True)


def course(schedule: Schedule, steps: int) -> tuple[list[float], list[float]]:
    """Learning rate and momentum of each step."""
    optimizer = make_optimizer({"module": nn.Linear(2, 2)}, schedule)
    scheduler = make_scheduler(optimizer, schedule, steps)
    rates, momenta = [], []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["momentum"] if "momentum" in group else group["betas"][0])
        optimizer.step()
        scheduler.step()
    return rates, momenta


def test_one_cycle_runs_as_in_the_specification():
    wanted = [4.0e-5, 5.2e-4, 1.0e-3, 9.505e-4, 8.117e-4, 6.113e-4, 3.887e-4, 1.883e-4, 4.952e-5, 4.0e-9]
    rates, momenta = course(CYCLE, 10)
    assert rates == pytest.approx(wanted, rel=1e-3)
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[2] == pytest.approx(0.85)
    assert momenta[9] == pytest.approx(0.95)


def test_momentum_stays_where_it_is_not_cycled():
    assert set(course(dataclasses.replace(CYCLE, cycle_momentum=False), 6)[1]) == {0.9}


def test_adamw_cycles_its_first_beta():
    _, betas = course(dataclasses.replace(CYCLE, optimizer="adamw", nesterov=False), 10)
    assert betas[0] == pytest.approx(0.95)
    assert betas[2] == pytest.approx(0.85)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("warm_up", [0.1, 0.25, 0.3, 0.5])
def test_the_shortest_cycles_are_finite(steps, warm_up):
    rates, _ = course(dataclasses.replace(CYCLE, warm_up=warm_up), steps)
    assert all(0 < rate <= 1e-3 * (1 + 1e-9) for rate in rates)


def test_steps_fall_at_shares_of_the_whole():
    stepped = Schedule(epochs=300, batch_size=128, lr=0.1, shape="step", milestones=(0.5, 0.75))
    rates, _ = course(stepped, 12)
    assert rates == pytest.approx([0.1] * 6 + [0.01] * 3 + [0.001] * 3)


@pytest.mark.parametrize(
    ("decay", "decayed"),
    [
        ("all", ["0.weight", "0.bias", "1.weight", "1.bias"]),
        ("weights", ["0.weight", "1.weight"]),
        ("matrices", ["0.weight"]),
    ],
)
def test_weight_decay_acts_on_what_it_is_told_to(decay, decayed):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = make_optimizer({"module": module}, dataclasses.replace(CYCLE, decay=decay))
    names = {id(tensor): name for name, tensor in module.named_parameters()}
    found = [names[id(tensor)] for group in optimizer.param_groups if group["weight_decay"] for tensor in group["params"]]
    assert sorted(found) == sorted(decayed)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_frozen_weights_are_not_optimised():
    module = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(UsageError, match="nothing is left to train"):
        make_optimizer({"module": module}, CYCLE)
    module.bias.requires_grad_(True)
    assert sum(len(group["params"]) for group in make_optimizer({"module": module}, CYCLE).param_groups) == 1


@pytest.mark.parametrize("shape", ["step", "one-cycle"])
def test_a_parameter_may_have_a_learning_rate_of_its_own_in_all_steps(shape):
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    schedule = Schedule(epochs=1, batch_size=4, lr=0.1, weight_decay=1e-4, shape=shape)
    optimizer = make_optimizer({"m": module}, schedule, lambda name: 10.0 if name.startswith("m.1.") else 1.0)
    scheduler = make_scheduler(optimizer, schedule, 8)
    plain, fast = optimizer.param_groups
    assert [len(plain["params"]), len(fast["params"])] == [2, 2]
    for _ in range(8):
        assert fast["lr"] == pytest.approx(10 * plain["lr"])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}, {"lr": math.inf}, {"lr": math.nan}, {"weight_decay": -1}]
)
def test_numbers_that_make_no_schedule_are_refused(change):
    with pytest.raises(UsageError, match="--"):
        check(dataclasses.replace(CYCLE, **change))


def test_clipping_bounds_the_norm_over_all_modules():
    modules = [nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)]
    for module, value in zip(modules, (3.0, 4.0), strict=True):
        module.weight.grad = module.weight.detach() * 0 + value
    clip(modules, 0.0)
    assert [module.weight.grad.item() for module in modules] == [3.0, 4.0]
    clip(modules, 1.0)
    assert [module.weight.grad.item() for module in modules] == pytest.approx([0.6, 0.8], rel=1e-4)
