"""Peak memory of the process that asks."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tools.children import child

MIB = 2**20
EVERY = 0.05
"""Seconds between two looks at the memory of a command."""
STATUS = Path("/proc/self/status")


def peak() -> float:
    """MiB: of the accelerator where there is one, else of the process.

    On Linux the kernel's own mark counts: the one that getrusage gives begins at what the parent process had when it started this
    one.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    marked = mark_of("self")
    if marked is not None:
        return marked
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kibibytes / 1024


def mark_of(process: int | str) -> float | None:
    """The most memory that a process has had, in MiB, by the kernel's mark; None where there is none, or it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return None
    return None if found is None else int(found[1]) / 1024


def run_command(command: Sequence[str]) -> float:
    """Run a command to its end; the most memory that it had, in MiB, 0 where the kernel does not tell."""
    most = 0.0
    with child(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while True:
            most = mark_of(process.pid) or most
            try:
                _, errors = process.communicate(timeout=EVERY)
                break
            except subprocess.TimeoutExpired:
                continue
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors[-2000:]}")
    return most
