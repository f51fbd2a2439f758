"""Devices, the precision of masked passes, and how many threads to use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from xaicli.device_names import device_name
from xaicli.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16")
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16", "svebf16"})
"""The names of bf16 arithmetic in /proc/cpuinfo: AMX and AVX-512 BF16 on x86, the last two on ARM."""
CPU_INFO = Path("/proc/cpuinfo")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class DeviceFacts:
    """A device of this machine: its name for `--device`, a description, and whether it has bf16 in hardware."""

    device: str
    description: str
    bf16: bool


def resolve_device(wanted: str | torch.device = "auto") -> torch.device:
    """The device of that name; `auto` is the first of cuda, mps and cpu that exists. Raises UsageError if it does not exist."""
    text = device_name(str(wanted))
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps() else "cpu")
    kind, _, index = text.partition(":")
    if kind == "cuda":
        require_cuda(int(index or 0))
    if kind == "mps" and not has_mps():
        raise UsageError("mps was asked for, but this machine or this build of torch does not have it", hint=here())
    return torch.device(text)


def require_cuda(index: int) -> None:
    if not torch.cuda.is_available():
        reason = "torch sees no GPU" if torch.version.cuda or torch.version.hip else "this torch is a CPU-only build"
        raise UsageError(f"cuda was asked for, but {reason}", hint=here())
    if index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UsageError(f"no device cuda:{index}", expected=f"cuda:0 to cuda:{last}" if last else "cuda, the only one")


def here() -> str:
    return f"Here: {', '.join(facts.device for facts in device_facts())}; leave out --device, or give one of them."


def has_mps() -> bool:
    return bool(torch.backends.mps.is_available())


def device_facts() -> list[DeviceFacts]:
    """All devices of this machine, the CPU last."""
    facts = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            name = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
            facts.append(DeviceFacts(f"cuda:{index}", name, has_bf16(torch.device("cuda", index))))
    if has_mps():
        facts.append(DeviceFacts("mps", f"Apple {platform.machine()}", False))
    cpu = f"{platform.machine()}, {sensible_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return [*facts, DeviceFacts("cpu", cpu, has_bf16(torch.device("cpu")))]


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 in hardware; emulation, which is slower than float32, does not count."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_bf16()


@cache
def cpu_has_bf16() -> bool:
    flags = cpu_facts("flags", "features")
    return not BF16_FLAGS.isdisjoint(flags.split())


@cache
def mkl_is_slow() -> bool:
    """Whether MKL, which computes torch's linear layers, uses half of this processor's vectors, and oneDNN all of it.

    It does so on AMD's processors with AVX-512: there a linear layer takes twice as long as the same convolution (measured on an
    EPYC of family 26).
    """
    amd = cpu_facts("vendor_id") == "authenticamd" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return amd and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def cpu_facts(*names: str) -> str:
    """What /proc/cpuinfo says under one of these names, in lower case; empty where it says nothing or does not exist."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").lower().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def masked_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type of passes that only mask the input: for `auto`, bf16 if the hardware has it. Raises UsageError."""
    if precision not in PRECISIONS:
        raise UsageError(f'no precision "{precision}"', expected=", ".join(PRECISIONS))
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        return torch.bfloat16
    return torch.float32


def sensible_threads() -> int:
    """Threads for arithmetic: torch's choice, or the user's by OMP_NUM_THREADS, but no more than this process may use."""
    if os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS"):
        return torch.get_num_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), allowed, quota(CPU_MAX)))


def quota(file: Path) -> int:
    """How many processors' time a container grants, rounded up; a large number if it sets no limit."""
    try:
        granted, period = file.read_text(encoding="ascii").split()
        return max(1, math.ceil(int(granted) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return 2**31


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Run torch on `count` threads, by default `sensible_threads()`; the previous number is restored."""
    before = torch.get_num_threads()
    wanted = count or sensible_threads()
    try:
        torch.set_num_threads(wanted)
        yield wanted
    finally:
        torch.set_num_threads(before)
