"""Peak memory of the process that asks."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch

MIB = 2**20
STATUS = Path("/proc/self/status")


def peak() -> float:
    """MiB: of the accelerator where there is one, else of the process.

    On Linux the kernel's own mark counts: the one that getrusage gives begins at what the parent process had when it started this
    one.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.is_file() else None
    if found is not None:
        return int(found[1]) / 1024
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kibibytes / 1024
