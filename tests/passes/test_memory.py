import pytest
import torch

from xaicli.passes.memory import batch_size_for, free_memory, is_out_of_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("side", "copies"), [(224, 16), (225, 16), (322, 8), (384, 4), (32, 512), (1, 512), (448, 4), (896, 1), (5000, 1)]
)
def test_a_cpu_takes_the_power_of_two_nearest_to_16_photos_of_224_pixels(side, copies):
    assert batch_size_for(CPU, side, side) == copies


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_exceptions_of_every_allocator_are_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_exceptions_are_not_taken_for_a_lack_of_memory(error):
    assert not is_out_of_memory(error)


def test_memory_can_be_given_back_on_a_cpu():
    free_memory(CPU)
