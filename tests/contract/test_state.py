"""Nothing outlives a call: the network, gradients, modes and random generators are as they were, also when something raises."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import xaicli
from xaicli.errors import RunError

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]


def state_of(module):
    """All that can be read of a network: weights, gradients, flags, hooks, and the names and identities of its attributes."""
    told = []
    for name, part in module.named_modules():
        own = {key: id(value) for key, value in vars(part).items() if key not in HOOKS and not key.startswith("_")}
        told.append((name, part.training, own, sorted(part._modules), {key: list(getattr(part, key).items()) for key in HOOKS}))
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        content = hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.sum().item())
        told.append((name, id(tensor), content, tensor.requires_grad, gradient))
    return told


def process_state():
    """What a call could leave behind in the process."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "python": random.getstate(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "backends": (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "numpy errors": np.geterr(),
        "warnings": list(warnings.filters),
        "forward": [id(nn.Module.__call__), id(nn.functional.relu), id(torch.relu), id(nn.functional.softmax)],
    }


def unfrozen(module):
    """As in training: in training mode, parameters trainable, gradients gathered so far, a hook of the user's own."""
    module.train().requires_grad_(True)
    module.register_forward_hook(lambda module, inputs, output: None)
    for tensor in module.parameters():
        tensor.grad = torch.ones_like(tensor)
    return module


class Clock:
    """Counts passes, those of a network's copies too, and raises at the `at`-th."""

    def __init__(self, error=None, at=0):
        self.error, self.at, self.calls = error, at, 0

    def __deepcopy__(self, memo):
        return self

    def tick(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class Alarm(nn.Module):
    """A step in the middle of a network that passes values on, or raises."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, values):
        self.clock.tick()
        return values


@pytest.mark.parametrize("prepare", [copy.copy, unfrozen], ids=["frozen", "unfrozen"])
def test_the_network_is_bit_identical_afterwards(trials, prepare):
    for trial in trials:
        module = prepare(trial.classifier.module)
        before = state_of(module)
        trial.explain()
        assert state_of(module) == before


def test_a_network_in_training_mode_is_explained_as_in_evaluation_mode(trials, trial_on):
    for trial in trials:
        other = trial_on(trial.network)
        unfrozen(other.classifier.module)
        torch.testing.assert_close(other.explain().values, trial.explain().values)


def test_random_generators_and_modes_of_the_process_are_as_before(trials):
    for trial in trials:
        before = process_state()
        trial.explain()
        assert process_state() == before


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad], ids=lambda mode: mode.__name__)
def test_the_callers_gradient_mode_does_not_matter(trials, trial_on, mode):
    for trial in trials:
        expected = trial.explain().values
        within = trial_on(trial.network)
        with mode():
            within.photos = within.photos + 0
            before = process_state()
            values = within.explain().values
            assert process_state() == before
        assert torch.equal(values, expected)


def test_the_callers_autocast_changes_no_decision(trials):
    for trial in trials:
        expected = trial.explain().logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(trial.explain().logits, expected)


def test_explaining_inside_autocast_gives_the_map_that_explaining_outside_gives(method, trials):
    classifier = trials[0].classifier
    photo = np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    photo = np.stack([photo] * classifier.view.frames) if classifier.view.frames else photo
    (expected,) = xaicli.explain(photo, classifier, method, precision="fp32")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (within,) = xaicli.explain(photo, classifier, method, precision="fp32")
    assert np.array_equal(within.values, expected.values)


def test_how_inputs_lie_in_memory_does_not_matter(trials):
    for trial in trials:
        expected = trial.explain().values
        trial.photos = trial.photos.to(memory_format=torch.channels_last)
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(trial.explain().values, expected, atol=1e-5 * scale, rtol=0)


def test_inputs_that_require_gradients_are_explained_and_keep_none(trials):
    for trial in trials:
        expected = trial.explain().values
        trial.photos = trial.photos.clone().requires_grad_()
        assert torch.equal(trial.explain().values, expected)
        assert trial.photos.grad is None


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_the_network_is_bit_identical_after_an_interruption_at_any_pass(trials, trial_on, networks, error, monkeypatch):
    # A network that was converted before makes fewer passes, so that the last of those counted would never come.
    monkeypatch.setattr("xaicli.passes.engine.WORTH_CONVERTING", math.inf)
    for trial in trials:
        clock = Clock()
        expected = trial_on(trial.network, with_alarm(networks[trial.network], clock)).explain().values
        for at in sorted({1, min(2, clock.calls), (1 + clock.calls) // 2, clock.calls}):
            module = unfrozen(with_alarm(networks[trial.network], Clock(error, at)))
            interrupted = trial_on(trial.network, module)
            before, process = state_of(module), process_state()
            maps = None
            with contextlib.suppress(*((RunError, RuntimeError) if isinstance(error, RuntimeError) else (KeyboardInterrupt,))):
                maps = interrupted.explain()
            if maps is not None:
                # Where the pass was only a trial of something quicker, its failure costs time and no more.
                assert isinstance(error, RuntimeError)
                torch.testing.assert_close(maps.values, expected, atol=1e-5, rtol=1e-5)
            assert state_of(module) == before
            assert process_state() == process


def with_alarm(network, clock):
    """A copy of a network that tells the clock of each pass."""
    network = copy.deepcopy(network)
    inside = next(part for part in network.modules() if type(part) is nn.Sequential and len(part) > 1 and part is not network)
    inside.add_module("alarm", Alarm(clock).train(network.training))
    return network


class Counting(nn.Module):
    """Counts its passes in training mode, which change the count of a norm too."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 3, 3))
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, inputs):
        if self.training:
            self.passes += 1
        return self.features(inputs).mean((2, 3))


def test_a_network_that_was_handed_in_keeps_the_mode_of_each_part(photo_batch):
    torch.manual_seed(0)
    module = Counting().train()
    module.features[1].eval()
    plain = copy.deepcopy(module).eval()
    before = state_of(module)
    classifier = xaicli.classifier(module, resize=32, crop=32, classes=("a", "b", "c"))
    with torch.no_grad():
        torch.testing.assert_close(classifier(photo_batch), plain(photo_batch))
    assert state_of(module) == before
    made = xaicli.explain("sample:hopper", classifier, method=["grad-cam", "rise@n_masks=8"])
    again = xaicli.explain("sample:hopper", xaicli.classifier(plain, resize=32, crop=32), method=["grad-cam", "rise@n_masks=8"])
    for one, other in zip(made, again, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-6)
    xaicli.score("sample:hopper", classifier, method="grad-cam", metric=["deletion@steps=2", "infidelity", "randomization"])
    xaicli.doctor(classifier)
    assert state_of(module) == before
