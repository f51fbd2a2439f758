"""Running metrics side by side: one queue for the copies that all metrics ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from xaicli.containment import contained
from xaicli.errors import RunError, is_out_of_memory
from xaicli.given_tensors import copies_of, written
from xaicli.metric import Measuring, Metric, Scores
from xaicli.passes.memory import batch_size_for
from xaicli.passes.part_sequences import part_sequences
from xaicli.passes.queue import CopyJob, run
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies, Outcomes
from xaicli.scoring.photo import ScoredPhoto
from xaicli.words import count, type_of

T = TypeVar("T")
Shared: TypeAlias = dict[Hashable, Tensor]
"""Logits (1, C) of shared copies, by key."""
Receive: TypeAlias = Callable[[Tensor, int, int], None]
"""Receives the logits of copies `start` to `stop`."""


SLACK = 1e-4
"""How far rounding may carry a value beyond its metric's range, as a share of the range's larger end, at least of 1."""


def shared_by_metrics(case: Case) -> dict[str, Tensor]:
    """The tensors of a photo that all its metrics read, as far as they are there."""
    tensors = {"photo": case.scored.input, "logits": case.clean_logits}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@dataclass(eq=False)
class Measurement:
    """One metric on one case: its copies while it waits for outcomes, its scores when it is done."""

    metric: Metric
    case: Case
    scores: Scores | None = None
    measuring: Measuring | None = None
    copies: Sequence[Copies] = ()
    outcomes: Outcomes = field(default_factory=lambda: Outcomes.empty(0, torch.device("cpu")))

    def start(self) -> None:
        started = self.guarded(lambda: self.metric.score(self.case))
        if isinstance(started, Scores):
            self.finish(started)
        elif isinstance(started, Generator):
            self.measuring = started
            self.receive(None)
        else:
            raise self.wrong(started)

    def receive(self, outcomes: Outcomes | None) -> None:
        """Let the metric go on until it asks for more copies or is done."""
        measuring = self.measuring
        assert measuring is not None

        def step() -> Sequence[Copies] | Scores:
            try:
                return next(measuring) if outcomes is None else measuring.send(outcomes)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what a generator returns has no type here

        answer = self.guarded(step)
        if isinstance(answer, Scores):
            self.finish(answer)
        elif isinstance(answer, list | tuple):
            self.copies = answer
            count = sum(copies.count for copies in answer)
            self.outcomes = Outcomes.empty(count, self.case.device, self.case.classifier.outputs)
        else:
            raise self.wrong(answer)

    def wrong(self, answer: object) -> RunError:
        return RunError(f"{self.metric.label} gave {type_of(answer)}", expected="Scores, or a list of Copies to run")

    def finish(self, scores: Scores) -> None:
        """Keep the scores, on the CPU; raises RunError unless there is one number per item."""
        parts = {"values": scores.values, **scores.readouts}
        for name, given in parts.items():
            if not isinstance(given, Tensor) or given.is_complex():
                raise RunError(
                    f"{self.metric.label} gave {name} that are no real numbers", expected="a tensor, one number per map"
                )
            if given.shape != (len(self.case),):
                raise RunError(
                    f"{self.metric.label} gave {name} of shape {tuple(given.shape)} for {count(len(self.case), 'map')}",
                    expected="one number per map",
                )
        self.refuse_outside(scores.values)
        if scores.curve is not None and scores.curve[1].shape != (len(self.case), *scores.curve[0].shape):
            raise RunError(
                f"{self.metric.label} gave curves of shape {tuple(scores.curve[1].shape)} for {count(len(self.case), 'map')}",
                expected="places (K,) and values (maps, K)",
            )
        numbers = {name: read.cpu() for name, read in scores.readouts.items()}
        curve = None if scores.curve is None else (scores.curve[0].cpu(), scores.curve[1].cpu())
        self.scores, self.copies, self.measuring = Scores(scores.values.cpu(), numbers, curve), (), None

    def refuse_outside(self, values: Tensor) -> None:
        """Raise RunError for a value beyond the metric's range by more than rounding; intervals of means end where it ends."""
        quantity = self.metric.quantity_of(self.case.classifier.outputs.value)
        slack = SLACK * max([1.0, *(abs(end) for end in (quantity.low, quantity.high) if math.isfinite(end))])
        outside = values[values.isfinite() & ((values < quantity.low - slack) | (values > quantity.high + slack))]
        if len(outside):
            raise RunError(
                f"{self.metric.label} gave {float(outside[0]):g} for {self.case.label or 'a map'}",
                expected=f"its range, {quantity.low:g} to {quantity.high:g}",
                hint="Mend `score`, or `range` in its class.",
            )

    def guarded(self, step: Callable[[], T]) -> T:
        """The result of `step`; what a metric raises is reported under its name."""
        maps, before = f"the maps of {self.case.label or 'a method'}", copies_of(shared_by_metrics(self.case))
        try:
            with contained(f"{self.metric.label} on {maps}", passing=is_out_of_memory):
                answer = step()
        except (RuntimeError, MemoryError) as error:
            found = f"{self.metric.label} ran out of memory on {maps}"
            raise RunError(found, hint="Give a smaller --resize and --crop, or leave this metric out.") from error
        now = shared_by_metrics(self.case)
        if changed := written({name: now[name] for name in before}, before):
            raise RunError(
                f"{self.metric.label} changed the {changed[0]} in place, which other metrics read too",
                expected="a copy to work on, such as case.photo(0).clone()",
            )
        return answer

    def places(self) -> Iterator[tuple[Copies, int]]:
        """The copies, each with the index at which its outcomes begin."""
        at = 0
        for copies in self.copies:
            yield copies, at
            at += copies.count

    def put(self, copies: Copies, at: int, logits: Tensor) -> None:
        self.outcomes.put(at, logits, self.case.classes[copies.item], self.case.against[copies.item])

    def wanted(self, shared: Shared, expected: set[Hashable]) -> Iterator[tuple[Copies, Receive]]:
        """The copies to run, and who receives their logits, without shared copies that are already expected."""
        for copies, at in self.places():
            if copies.shared is None:
                yield copies, self.taker(copies, at)
            elif copies.shared not in expected:
                expected.add(copies.shared)
                yield copies, keeper(shared, copies.shared)

    def taker(self, copies: Copies, at: int) -> Receive:
        return lambda logits, start, stop: self.put(copies, at + start, logits)

    def collect(self, shared: Shared) -> None:
        """Read the outcomes of shared copies."""
        for copies, at in self.places():
            if copies.shared is not None:
                self.put(copies, at, shared[copies.shared])


def keeper(shared: Shared, key: Hashable) -> Receive:
    def receive(logits: Tensor, start: int, stop: int) -> None:
        shared[key] = logits

    return receive


def measure(photo: ScoredPhoto, work: Sequence[tuple[Metric, Case]]) -> list[Scores]:
    """The scores of each metric on its case, all of one photo.

    All copies run in float32, in full batches; those with a shared key run once. Raises RunError if a metric fails.
    """
    measurements = [Measurement(metric, case) for metric, case in work]
    for measurement in measurements:
        measurement.start()
    passes = sum(len(case) * metric.passes(photo.size) for metric, case in work)
    shared: Shared = {}
    shape = (photo.input.shape[0], *photo.size)
    while waiting := [measurement for measurement in measurements if measurement.scores is None]:
        expected = set(shared)
        wanted = (pair for measurement in waiting for pair in measurement.wanted(shared, expected))
        in_parts: list[tuple[Tensor, Receive]] = []
        run(photo.classifier, painted(wanted, in_parts), shape, batch_size=at_once(photo), passes=passes, exact=True)
        run_in_parts(photo, in_parts)
        for measurement in waiting:
            measurement.collect(shared)
            measurement.receive(measurement.outcomes)
    return [measurement.scores for measurement in measurements if measurement.scores is not None]


def painted(wanted: Iterable[tuple[Copies, Receive]], in_parts: list[tuple[Tensor, Receive]]) -> Iterator[CopyJob]:
    """The jobs for the queue; copies from which patches are left out are put aside."""
    for copies, receive in wanted:
        if copies.kept is None:
            yield CopyJob(copies.count, copies.write, receive)
        else:
            in_parts.append((copies.kept, receive))


def run_in_parts(photo: ScoredPhoto, in_parts: Sequence[tuple[Tensor, Receive]]) -> None:
    """Run the copies from which patches are left out, together."""
    if not in_parts:
        return
    kept = torch.cat([own for own, _ in in_parts])
    with part_sequences(photo.classifier, photo.input[None], "remove=tokens", exact=True) as sequences:
        found = sequences.logits.new_empty(len(kept), sequences.logits.shape[1])
        sequences.run(kept, partial(found.index_copy_, 0))
    at = 0
    for own, receive in in_parts:
        receive(found[at : at + len(own)], 0, len(own))
        at += len(own)


def at_once(photo: ScoredPhoto) -> int | None:
    """Copies per pass, None for the queue's own choice. In float32 a processor is fastest with two photos per thread, at least
    four: their activations fit its caches (MobileNet v2 and v3, ResNet-18 and 50, DeiT)."""
    device = photo.input.device
    if device.type != "cpu" or photo.classifier.batch_size is not None:
        return None
    return min(max(4, 2 * torch.get_num_threads()), batch_size_for(device, *photo.size))
