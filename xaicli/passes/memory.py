"""Batch sizes that fit, and what to do when one did not."""

from __future__ import annotations

import gc
import math

import torch

from xaicli.errors import XaiError, text_of

PIXELS_CPU = 16 * 224 * 224
"""A CPU is fastest while a layer's activations stay near its caches: 8 to 16 photos of 224 pixels,
6 to 12 of 322, on ResNet-50 and MobileNetV3."""

PIXELS_DEVICE = 128 * 224 * 224
"""An accelerator is full well below this; more only takes memory."""

BYTES_A_PIXEL = 2048
"""Activation memory of one forward pass for each input pixel, generous for the networks that torchvision ships."""

LARGEST = 512

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate memory", "alloc_failed")


def batch_size_for(device: torch.device, height: int, width: int) -> int:
    """How many copies of (height, width) to pass at once: a power of two from 1 to 512, the nearest to what is fastest."""
    pixels = PIXELS_CPU if device.type == "cpu" else PIXELS_DEVICE
    copies = 1 << round(math.log2(max(1, pixels / (height * width))))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        fitting = max(1, (free + unused) // 2 // BYTES_A_PIXEL // (height * width))
        copies = min(copies, 1 << int(math.log2(fitting)))
    return min(LARGEST, copies)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or the one it was raised from, says that memory ran out: torch's own, the CPU allocator's, or that of
    another runtime."""
    if isinstance(error, XaiError) and error.__cause__ is not None:
        return is_out_of_memory(error.__cause__)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in text_of(error).lower() for words in OUT_OF_MEMORY)


def free_memory(device: torch.device) -> None:
    """Give unused memory back before a smaller attempt."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
