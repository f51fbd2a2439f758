"""The training loop: it learns, leaves frozen networks alone, stops in words, and goes on exactly where it was."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import Tensor, nn

from xaicli.errors import InputError, RunError, UsageError
from xaicli.training.average import Average
from xaicli.training.frozen import digest, frozen
from xaicli.training.loop import Epoch, Step


def weights(task) -> list[Tensor]:
    return [tensor.clone() for tensor in task.head.state_dict().values()]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert all(torch.equal(mine, yours) for mine, yours in zip(one, other, strict=True))


def stop_after(training, steps: int) -> None:
    """Run some steps and leave it there, as a kill between two steps would."""
    for event in training.run():
        if isinstance(event, Step) and event.done == steps:
            return


def kill_after(training, steps: int, number: int) -> None:
    """Run, and send this process a signal after some steps."""
    for event in training.run():
        if isinstance(event, Step) and event.done == steps:
            # To this thread: a library of another test may have threads of its own.
            signal.raise_signal(number)


def test_a_run_tells_of_every_step_and_epoch_and_learns(brightness, training_of):
    events = list(training_of(brightness(epochs=6)).run())
    steps = [event for event in events if isinstance(event, Step)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [step.done for step in steps] == list(range(1, 19))
    assert {step.total for step in steps} == {18}
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].row["area"] < 0.9 * epochs[0].row["area"]
    assert epochs[0].row["loss"] == pytest.approx(sum(step.terms["loss"] for step in steps[:3]) / 3)
    assert steps[0].terms["loss"] == pytest.approx(steps[0].terms["fit"] + 5 * steps[0].terms["area"])


def test_modules_are_in_evaluation_mode_afterwards(brightness, training_of):
    task = brightness(epochs=1)
    list(training_of(task).run())
    assert not any(part.training for part in task.head.modules())


def test_a_frozen_network_keeps_every_bit_mode_and_gradient_flag(brightness, training_of):
    task = brightness(epochs=1)
    network = task.classifier.torch_module
    network.train()
    first = next(network.parameters()).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    list(training_of(task).run())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert first.requires_grad
    assert first.grad is None


def test_a_frozen_network_that_changes_is_an_error():
    network = nn.BatchNorm1d(2)
    with pytest.raises(RunError, match="changed the frozen network head"), frozen({"head": network}):
        network.running_mean += 1e-7


def test_the_hash_of_a_network_sees_buffers_that_are_not_saved():
    network = nn.Linear(1, 1)
    before = digest(network)
    network.register_buffer("seen", torch.zeros(1), persistent=False)
    assert digest(network) != before


def test_two_runs_with_one_seed_are_the_same_bit_for_bit(brightness, training_of, tmp_path):
    one, two = brightness(), brightness()
    list(training_of(one, snapshot=tmp_path / "one.resume").run())
    torch.rand(5)
    list(training_of(two, snapshot=tmp_path / "two.resume").run())
    assert_same(weights(one), weights(two))


def test_the_callers_random_state_is_left_alone(brightness, training_of):
    state = torch.get_rng_state()
    list(training_of(brightness(epochs=1)).run())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "amsgrad": True}, {"shape": "step"}, {"ema": 0.9, "clip": 1.0}])
@pytest.mark.parametrize("steps", [1, 3, 4, 8])
def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(brightness, training_of, tmp_path, settings, steps):
    whole, cut, rest = brightness(**settings), brightness(**settings), brightness(**settings)
    long = training_of(whole, snapshot=tmp_path / "whole.resume")
    list(long.run())
    stop_after(training_of(cut, save_every=0), steps + 1)
    resumed = training_of(rest)
    list(resumed.run())
    assert_same(weights(whole), weights(rest))
    assert resumed.history == long.history
    assert resumed.trace == long.trace


def test_snapshots_are_taken_at_the_end_of_each_epoch_too(brightness, training_of):
    stop_after(training_of(brightness()), 4)
    training = training_of(brightness())
    training.load()
    assert training.done == 3
    assert len(training.history) == 1


def test_a_snapshot_of_another_run_is_refused_naming_what_differs(brightness, training_of):
    stop_after(training_of(brightness(), identity={"seed": 7, "lr": 0.05}), 4)
    with pytest.raises(UsageError, match=r"another run: lr 0\.05 \(now 0\.1\).*--fresh"):
        list(training_of(brightness(), identity={"seed": 7, "lr": 0.1}).run())
    list(training_of(brightness(), identity={"seed": 7, "lr": 0.1}, resume=False).run())


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04broken", b"\x80\x02."])
def test_a_damaged_snapshot_is_refused_in_words(brightness, training_of, content):
    training = training_of(brightness())
    training.snapshot.write_bytes(content)
    with pytest.raises(InputError, match=r"snapshot.*--fresh"):
        list(training.run())


def test_a_snapshot_that_holds_something_else_is_refused(brightness, training_of):
    training = training_of(brightness())
    torch.save([1, 2], training.snapshot)
    with pytest.raises(InputError, match="not a snapshot of a training run"):
        list(training.run())


def test_a_cut_snapshot_never_takes_the_place_of_a_whole_one(brightness, training_of, monkeypatch):
    training = training_of(brightness(), save_every=0)
    stop_after(training, 2)
    before = training.snapshot.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="no space left"):
        training.save()
    assert training.snapshot.read_bytes() == before
    assert list(training.snapshot.parent.glob(".*.part")) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_before_the_weights_see_it(brightness, training_of, value):
    task = brightness()
    training = training_of(task)
    seen = iter(range(100))
    task.spoil = lambda terms: {**terms, "fit": terms["fit"] * (value if next(seen) == 4 else 1)}
    words = r"no longer finite at step 5 of 9 \(fit (nan|inf), area .*--lr 0\.005.*run\.resume"
    with pytest.raises(RunError, match=words) as told:
        list(training.run())
    assert told.value.exit_code == 5
    assert all(bool(tensor.isfinite().all()) for tensor in weights(task))
    training.load()
    assert training.done == 3


def test_gradients_that_are_no_numbers_end_the_run_too(brightness, training_of):
    task = brightness()
    # The square root's slope at zero is infinite, and infinity times zero is no number.
    task.spoil = lambda terms: {**terms, "fit": (terms["fit"] * 0).sqrt()}
    with pytest.raises(RunError, match=r"gradients are no longer finite at step 1 of 9"):
        list(training_of(task, bf16=True).run())
    assert all(bool(tensor.isfinite().all()) for tensor in weights(task))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_first(brightness, training_of, number):

    def handler(number, frame):
        raise InterruptedError(number)

    before = signal.signal(number, handler)
    try:
        training = training_of(brightness())
        with pytest.raises(InterruptedError):
            kill_after(training, 5, number)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    resumed = training_of(brightness())
    resumed.load()
    assert resumed.done == 5


def test_handlers_of_signals_are_as_before(brightness, training_of):
    before = signal.getsignal(signal.SIGINT)
    list(training_of(brightness(epochs=1)).run())
    assert signal.getsignal(signal.SIGINT) is before


def test_held_out_figures_are_means_over_photos_not_over_batches(brightness, training_of):
    task = brightness(epochs=1)
    task.evaluate = lambda inputs, labels: {"photos": inputs[:, 0, 0, 0], "batch": inputs[:, 0, 0, 0].mean()}
    training = training_of(task)
    inputs = torch.cat([batch.inputs for batch in training.batches.epoch(0)])
    parts = [type(next(iter(training.batches.epoch(0))))(part, None) for part in (inputs[:7], inputs[7:])]
    training.held = lambda: iter(parts)
    list(training.run())
    wanted = float(inputs[:, 0, 0, 0].mean())
    assert training.history[0]["held photos"] == pytest.approx(wanted, abs=1e-6)
    assert training.history[0]["held batch"] == pytest.approx(wanted, abs=1e-6)


def test_the_mean_of_weights_is_an_exponential_one():
    module = nn.Linear(1, 1, bias=False)
    average = Average([module], decay=0.5)
    expected = 0.0
    with torch.no_grad():
        module.weight.zero_()
        average = Average([module], decay=0.5)
        for step, value in enumerate((1.0, 2.0, 3.0), 1):
            module.weight.fill_(value)
            average.update()
            decay = min(0.5, step / (step + 9))
            expected = decay * expected + (1 - decay) * value
        with average.in_place():
            assert module.weight.item() == pytest.approx(expected)
        assert module.weight.item() == 3.0
        average.apply()
    assert module.weight.item() == pytest.approx(expected)


def test_counters_are_copied_into_the_mean_not_averaged():
    module = nn.BatchNorm1d(1)
    average = Average([module], decay=0.9)
    module.num_batches_tracked += 3
    average.update()
    average.apply()
    assert module.num_batches_tracked.item() == 3


def test_bf16_trains_close_to_float32(brightness, training_of, tmp_path):
    one, two = brightness(epochs=1), brightness(epochs=1)
    full, half = training_of(one, snapshot=tmp_path / "one"), training_of(two, snapshot=tmp_path / "two", bf16=True)
    list(full.run()), list(half.run())
    assert half.history[0]["loss"] == pytest.approx(full.history[0]["loss"], rel=0.05)
    assert half.history[0]["loss"] != full.history[0]["loss"]
    assert all(tensor.dtype == torch.float32 for tensor in weights(two) if tensor.is_floating_point())
