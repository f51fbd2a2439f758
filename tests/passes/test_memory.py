"""Batch sizes, and what happens when memory runs out."""

from __future__ import annotations

import errno

import pytest
import torch

from xaicli.errors import RunError, is_out_of_memory
from xaicli.passes.memory import Chunk, batch_size_for, chunk_for, free_memory, in_chunks

CPU = torch.device("cpu")


def chunk_of(size: int) -> Chunk:
    return Chunk(size, CPU, lambda at: RunError(f"item {at} does not fit"))


def limited(room: int, calls: list[tuple[int, int]]):
    """Work that returns its range, and has memory for `room` items at once."""

    def work(start: int, stop: int) -> list[int]:
        calls.append((start, stop))
        if stop - start > room:
            raise torch.OutOfMemoryError
        return list(range(start, stop))

    return work


@pytest.mark.parametrize(
    ("side", "copies"), [(224, 16), (225, 16), (322, 8), (384, 4), (32, 512), (1, 512), (448, 4), (896, 1), (5000, 1)]
)
def test_a_cpu_takes_the_power_of_two_nearest_to_16_photos_of_224_pixels(side, copies):
    assert batch_size_for(CPU, side, side) == copies


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.OutOfMemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("can't start new thread"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        MemoryError(),
    ],
)
def test_exceptions_of_every_allocator_are_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not fit"),
        RuntimeError("could not create a primitive descriptor"),
        ValueError("out of memory"),
        KeyboardInterrupt(),
    ],
)
def test_other_exceptions_are_not_taken_for_a_lack_of_memory(error):
    assert not is_out_of_memory(error)


def test_memory_can_be_given_back_on_a_cpu():
    free_memory(CPU)


@pytest.mark.parametrize("room", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("size", [1, 4, 16])
def test_each_item_is_processed_once_and_in_order_whatever_fits(room, size):
    made = list(in_chunks(limited(room, []), 11, chunk_of(size)))
    assert [item for _, items in made for item in items] == list(range(11))
    assert [start for start, _ in made] == [items[0] for _, items in made]


def test_a_size_that_did_not_fit_is_not_tried_again():
    calls: list[tuple[int, int]] = []
    chunk = chunk_of(8)
    list(in_chunks(limited(2, calls), 8, chunk))
    assert calls == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8)]
    assert chunk.size == 2


def test_a_single_item_that_does_not_fit_is_named():
    def work(start: int, stop: int) -> int:
        if stop > 3:
            raise MemoryError
        return start

    with pytest.raises(RunError, match="item 3 does not fit"):
        list(in_chunks(work, 6, chunk_of(4)))


def test_other_failures_pass_through_at_the_first_attempt():
    calls = []

    def work(start: int, stop: int) -> int:
        calls.append(start)
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(in_chunks(work, 6, chunk_of(4)))
    assert calls == [0]


def test_a_classifiers_own_batch_size_comes_before_what_its_device_takes(tiny_cnn, classifier_of):
    assert chunk_for(classifier_of(tiny_cnn, batch_size=3), (224, 224)).size == 3
    assert chunk_for(classifier_of(tiny_cnn), (224, 224)).size == 16
    assert chunk_for(classifier_of(tiny_cnn), (224, 224), times=2).size == 8
