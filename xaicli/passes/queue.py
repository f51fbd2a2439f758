"""The masked-forward queue: many altered copies of many photos through one network, in full batches.

A method or metric describes its work as jobs: how many copies, how to write them, what to do with their logits. `run` packs the
copies of successive jobs (photos, methods, steps) into full batches. It reads one job after the other, so that memory depends on
the batch size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xaicli.containment import contained
from xaicli.errors import UsageError, is_out_of_memory
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.passes.engine import engine_for
from xaicli.passes.layout import fastest_layout, is_refused
from xaicli.passes.memory import Chunk, chunk_for


@dataclass(frozen=True, eq=False)
class CopyJob:
    """`size` altered copies of one photo.

    write(out, start, stop) writes copies `start` to `stop` into `out` (stop - start, 3, H, W), a slice of a buffer that is
    reused: it must write every element and keep no reference. receive(logits, start, stop) gets their logits (stop - start, C), a
    float32 tensor of its own. Ranges come in order and cover each copy once; their limits depend on the batches. After memory ran
    out, `write` may be called again for the same or a shorter range. Writing runs up to two batches ahead of receiving.
    """

    size: int
    write: Callable[[Tensor, int, int], object]
    receive: Callable[[Tensor, int, int], object]


def run(
    classifier: Classifier,
    jobs: Iterable[CopyJob],
    shape: tuple[int, int, int],
    *,
    batch_size: int | None = None,
    passes: float | None = None,
    exact: bool,
) -> int:
    """Run all copies of all jobs, of `shape` (3, H, W), through the classifier; returns the batch size in use at the end.

    exact: float32 (decisions, scores); else the classifier's `masked_dtype`. batch_size: copies per pass, by default the
    classifier's, or else what suits the device best; it is halved when memory runs out, and the work continues where it stopped.
    passes: the expected number of copies, which decides which network runs them (see `engine_for`); by default the number in a
    list of jobs. Results agree to 1e-5 in float32 for any batch size and any neighbours. The network runs in evaluation mode
    without gradients. Raises RunError if not even one copy fits, or if the network returns another number of rows than it was
    given.
    """
    chunk = chunk_for(classifier, (shape[1], shape[2]))
    if batch_size is not None:
        chunk.size = batch_size
    if chunk.size < 1:
        raise UsageError(f"batch size {chunk.size} cannot be used", expected="at least 1")
    with eval_mode(classifier.module):
        if passes is None:
            passes = sum(job.size for job in jobs) if isinstance(jobs, Sequence) else 0
        queue = Queue(classifier, shape, chunk, passes, exact)
        for job in jobs:
            queue.add(job)
        queue.finish()
    return queue.chunk.size


def clean_logits(classifier: Classifier, inputs: Tensor, *, passes: float | None = None, exact: bool = True) -> Tensor:
    """Logits (B, C) float32 of unaltered photos (B, 3, H, W): the clean pass of a method that only masks, on which the decision
    is made.

    passes, exact: as in `run`.
    """
    pieces: list[Tensor] = []
    photos = CopyJob(
        len(inputs),
        write=lambda out, start, stop: out.copy_(inputs[start:stop]),
        receive=lambda logits, start, stop: pieces.append(logits),
    )
    # Out of memory is handled by the caller.
    with contained(classifier.name, passing=is_out_of_memory):
        run(classifier, [photos], (inputs.shape[1], inputs.shape[2], inputs.shape[3]), passes=passes, exact=exact)
    return torch.cat(pieces) if pieces else inputs.new_zeros((0, classifier.count))


@dataclass(frozen=True, eq=False)
class JobPart:
    """Copies `start` to `stop` of a job, side by side in one batch."""

    job: CopyJob
    start: int
    stop: int


@dataclass(eq=False)
class Queue:
    """The batch being filled, and the logits of the batch before, which are handed out while the device computes the next."""

    classifier: Classifier
    shape: tuple[int, int, int]
    chunk: Chunk
    passes: float
    exact: bool
    engine: Classifier | None = None
    buffer: Tensor | None = None
    filled: int = 0
    parts: list[JobPart] = field(default_factory=list)
    computed: tuple[Tensor, list[JobPart]] | None = None
    layout: torch.memory_format = torch.contiguous_format

    def __post_init__(self) -> None:
        self.layout = fastest_layout(self.classifier, torch.float32 if self.exact else self.classifier.masked_dtype)

    def add(self, job: CopyJob) -> None:
        """Write a job's copies, and run each batch that is full."""
        at = 0
        while at < job.size:
            if self.filled >= self.chunk.size:
                self.flush()
            at += self.write(job, at, min(job.size, at + self.chunk.size - self.filled))

    def write(self, job: CopyJob, start: int, stop: int) -> int:
        """Write copies into the buffer; returns how many: 0 if memory ran out and the batch was made smaller."""

        def written_part() -> JobPart:
            buffer = self.room()
            with torch.no_grad():
                job.write(buffer[self.filled : self.filled + stop - start], start, stop)
            return JobPart(job, start, stop)

        written = self.chunk.attempt(written_part)
        if written is None:
            self.flush()
            self.buffer = None
            return 0
        self.filled += stop - start
        self.parts.append(written)
        return stop - start

    def room(self) -> Tensor:
        if self.buffer is None:
            # Never an inference tensor: those do not count their changes.
            with torch.inference_mode(False):
                self.buffer = torch.empty(
                    (self.chunk.size, *self.shape), dtype=torch.float32, device=self.classifier.device, memory_format=self.layout
                )
        return self.buffer

    def flush(self) -> None:
        """Run the batch, full or not."""
        if not self.filled or self.buffer is None:
            return
        pieces, at = [], 0
        while at < self.filled:
            before = self.buffer._version
            logits = self.attempt(self.buffer[at : min(self.filled, at + self.chunk.size)])
            if logits is not None:
                pieces.append(logits)
                at += logits.shape[0]
            elif self.buffer._version != before:
                # A network that works in place changed its input before it failed.
                self.write_again(self.buffer)
        logits, parts = torch.cat(pieces), self.parts
        self.filled, self.parts = 0, []
        if self.buffer.shape[0] > self.chunk.size or not self.buffer.is_contiguous(memory_format=self.layout):
            self.buffer = None
        self.deliver()
        self.computed = (logits, parts)

    def write_again(self, buffer: Tensor) -> None:
        at = 0
        with torch.no_grad():
            for part in self.parts:
                count = part.stop - part.start
                part.job.write(buffer[at : at + count], part.start, part.stop)
                at += count

    def attempt(self, copies: Tensor) -> Tensor | None:
        """Logits of the copies; None if memory ran out or the layout was refused, and the caller should try again."""
        try:
            logits = self.chunk.attempt(lambda: self.forward(copies))
        except RuntimeError as error:
            if not is_refused(self.layout, error):
                raise
            self.layout = torch.contiguous_format
            self.buffer = self.room().contiguous()
            return None
        # A copy made outside inference mode, so that receivers may keep and change it.
        return None if logits is None else logits.clone()

    def forward(self, copies: Tensor) -> Tensor:
        if self.engine is None:
            self.engine = engine_for(self.classifier, copies[:1], self.passes, exact=self.exact)
            self.layout = fastest_layout(self.engine, torch.float32 if self.exact else self.classifier.masked_dtype)
        if not self.exact:
            return self.engine.masked(copies)
        with torch.inference_mode(), torch.autocast(self.classifier.device.type, enabled=False):
            return self.engine(copies)

    def deliver(self) -> None:
        """Hand the logits of the previous batch to the jobs that asked for them."""
        if self.computed is None:
            return
        logits, parts = self.computed
        self.computed = None
        at = 0
        with torch.no_grad():
            for part in parts:
                count = part.stop - part.start
                part.job.receive(logits[at : at + count], part.start, part.stop)
                at += count

    def finish(self) -> None:
        self.flush()
        self.deliver()
