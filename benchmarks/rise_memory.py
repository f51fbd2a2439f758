"""Memory of RISE above the network's own, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

import torch

from benchmarks import memory
from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos
from xaicli.methods.rise.rise import RISE
from xaicli.passes.queue import CopyJob, run
from xaicli.targets import TargetRule, Targets

LIMIT = 200.0
SHAPE = (3, 224, 224)
CASES = (("resnet50", 64, 1), ("resnet50", 256, 1), ("pooling", 1024, 1), ("pooling", 32768, 1), ("pooling", 1024, 5))


def measure(rounds: int) -> list[Figure]:
    figures = []
    own = {name: [peak(name, 0, 1) for _ in range(min(rounds, 3))] for name in {name for name, _, _ in CASES}}
    for name, masks, targets in CASES:
        above = tuple(peak(name, masks, targets) - bare for bare in own[name])
        words = "1 target" if targets == 1 else f"{targets} targets"
        figures.append(Figure(f"RISE of {masks} masks, {words}, above the peak of {name}", "MiB", above, LIMIT))
    return figures


def peak(name: str, masks: int, targets: int) -> float:
    """Peak memory in MiB of a fresh process that passes masked copies; with 0 masks it only passes two batches."""
    command = [sys.executable, "-m", "benchmarks.rise_memory", name, str(masks), str(targets)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def work(name: str, masks: int, targets: int) -> float:
    network, inputs = classifier(name), photos(1)
    if masks:
        rise, rule = RISE(n_masks=masks), TargetRule(top=targets)
        rise.attribute(network, inputs, Targets.same(rule, 1), torch.tensor([1]))
    else:
        job = CopyJob(
            32, write=lambda out, start, stop: out.copy_(inputs.expand_as(out)), receive=lambda logits, start, stop: None
        )
        run(network, [job], SHAPE, exact=True)
    return memory.peak()


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
