"""Passes without gradients go through the queue, which alone chooses batches, precision and engine."""

from __future__ import annotations

from xaicli.method import Needs
from xaicli.passes.queue import Queue


def test_a_method_that_needs_the_forward_pass_alone_makes_all_its_passes_through_the_queue(
    trial_on, networks, method, monkeypatch
):
    if method.needs & ~Needs.CHECKPOINT != Needs.FORWARD:
        return
    inside, outside = [], []
    forward = Queue.forward

    def within(queue, copies):
        inside.append(True)
        logits = forward(queue, copies)
        inside.append(False)
        return logits

    def network(inputs):
        if not inside or not inside[-1]:
            outside.append(len(inputs))
        return networks["cnn"](inputs)

    monkeypatch.setattr(Queue, "forward", within)
    trial_on("cnn", network).explain()
    assert inside
    assert outside == []


def test_a_method_of_many_passes_runs_them_on_the_engine(trial_on, method, monkeypatch):
    """The photos' own passes and the few that compare the engine with the network are all that the network itself makes."""
    if method.needs != Needs.FORWARD or method.cost().forward < 8:
        return
    monkeypatch.setattr("xaicli.passes.folded_engine.WORTH_FOLDING", 8)
    trial = trial_on("cnn")
    passed, own = [], trial.classifier.module

    def note(module, inputs):
        # The twin is a copy, with a copy of this hook.
        if module is own:
            passed.append(len(inputs[0]))

    own.register_forward_pre_hook(note)
    trial.explain()
    # For a runtime it is traced and passed on two photos each, then compared on three and on one.
    assert 5 <= sum(passed) <= 5 + 2 * 2 + 3 + 1
