"""Batch sizes that fit into memory, and smaller ones if it runs out."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from xaicli.errors import RunError, is_out_of_memory
from xaicli.network.classifier import Classifier

T = TypeVar("T")

PIXELS_CPU = 16 * 224 * 224
"""A CPU is fastest while a layer's activations fit its caches: with 8 to 16 photos of 224 pixels, or 6 to 12 of 322 (ResNet-50,
MobileNetV3)."""

PIXELS_DEVICE = 128 * 224 * 224
"""An accelerator is fully used well below this; more only takes memory."""

BYTES_A_PIXEL = 2048
"""Activation memory of a forward pass per input pixel; a generous estimate for torchvision's networks."""

LARGEST = 512


def batch_size_for(device: torch.device, height: int, width: int) -> int:
    """How many copies of (height, width) to run at once: the power of two from 1 to 512 that is nearest to the fastest number."""
    pixels = PIXELS_CPU if device.type == "cpu" else PIXELS_DEVICE
    copies = 1 << round(math.log2(max(1, pixels / (height * width))))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        fitting = max(1, (free + unused) // 2 // BYTES_A_PIXEL // (height * width))
        copies = min(copies, 1 << int(math.log2(fitting)))
    return min(LARGEST, copies)


@dataclass(eq=False)
class Chunk:
    """How many items are processed at once: `size`, halved each time memory runs out, down to one.

    too_large: makes the error for the item of that number, which does not fit even alone.
    """

    size: int
    device: torch.device
    too_large: Callable[[int], RunError]

    def attempt(self, work: Callable[[], T], start: int = 0, count: int | None = None) -> T | None:
        """What `work` returns; None if it ran out of memory on `count` items from `start` on: try again with fewer.

        Raises `too_large` if it ran out on a single item; other exceptions pass through.
        """
        try:
            return work()
        # Foreign code is contained, so its out-of-memory error arrives as the cause of a RunError.
        except (RuntimeError, MemoryError, RunError) as error:
            if not is_out_of_memory(error):
                raise
            # Its traceback would keep the tensors of the failed attempt.
            failed = error.with_traceback(None)
        count = self.size if count is None else count
        if count <= 1:
            raise self.too_large(start) from failed
        self.size = count // 2
        free_memory(self.device)
        return None


def in_chunks(work: Callable[[int, int], T], count: int, chunk: Chunk) -> Iterator[tuple[int, T]]:
    """Process `count` items in order: yields the start of each range and what `work(start, stop)` returned for it.

    Ranges are at most `chunk.size` long. If memory runs out on a range, half of it is tried again.
    """
    start = 0
    while start < count:
        stop = min(count, start + chunk.size)
        result = chunk.attempt(partial(work, start, stop), start, stop - start)
        if result is not None:
            yield start, result
            start = stop


SMALLER_INPUT = "a smaller --resize and --crop"


def chunk_for(
    classifier: Classifier, size: tuple[int, int], *, times: int = 1, what: str = "", smaller: str = SMALLER_INPUT
) -> Chunk:
    """How many inputs of `size` (height, width) to run at once: the classifier's batch size, or else what suits its device best.

    times: the memory of one input, in forward passes without gradients; what: the name for the error message, by default the
    classifier's; smaller: what makes these inputs smaller, for its hint.
    """
    height, width = size
    frames = max(1, classifier.view.frames)

    def too_large(_: int) -> RunError:
        elsewhere = "" if classifier.device.type == "cpu" else ", or --device cpu"
        found = f"{what or classifier.name} ran out of memory on a single {height} x {width} input"
        return RunError(found, hint=f"Give {smaller}{elsewhere}, or use a smaller model.")

    fitting = max(1, batch_size_for(classifier.device, frames * height, width) // times)
    return Chunk(classifier.batch_size or fitting, classifier.device, too_large)


def free_memory(device: torch.device) -> None:
    """Release unused memory before a smaller attempt."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
