"""Long runs: memory, open files and rate are the same from the first photo to the last, and the time left is told right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture.children import busy_seconds, descriptors, resident
from torture.tally import Tally

pytestmark = [pytest.mark.torture, pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")]
TESTS = Path(__file__).resolve().parents[1]
SAMPLES = 50
"""How often a run is looked at."""
GROWTH = 64 << 20
"""Bytes that a run may grow by after its first tenth."""
SPREAD = 1.2
"""How much more processor time a photo of the last fifth may take than one of the second."""
TOLD_WITHIN = 0.2
LEFT = re.compile(r"scoring (\d+) of (\d+), .* a minute, (.*) left")
UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Sample:
    """A run at one moment."""

    done: int
    seconds: float
    busy: float
    bytes: int
    files: int


def tiny_imagenet(folder: Path, count: int, assets: Path) -> None:
    """Photos of Tiny ImageNet as files, from its packed parts."""
    written = 0
    for part in sorted((assets / "tiny-imagenet").glob("train-*.npz")):
        with np.load(part, allow_pickle=False) as packed:
            data, offsets, names = packed["data"].tobytes(), packed["offsets"], packed["names"]
        for name, begin, end in zip(names, offsets[:-1], offsets[1:], strict=True):
            if written == count:
                return
            (folder / f"{name.decode()}.webp").write_bytes(data[begin:end])
            written += 1


def noise(folder: Path, count: int) -> None:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def watched(child: subprocess.Popen[bytes], total: int, log: Path) -> Iterator[Sample]:
    """The run at fifty moments, by the rows that it prints; each is also a line of `log`."""
    began = time.monotonic()
    assert child.stdout is not None
    with open(log, "w", encoding="utf-8") as lines:
        for done, _ in enumerate(child.stdout, 1):
            if done % max(1, total // SAMPLES) == 0 and done < total:
                sample = Sample(
                    done, time.monotonic() - began, busy_seconds(child.pid), resident(child.pid), descriptors(child.pid)
                )
                print(json.dumps(sample.__dict__), file=lines, flush=True)
                yield sample


def seconds_in(text: str) -> float:
    """The seconds of `2 min 51 s`."""
    words = text.split()
    return sum(float(number) * UNITS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


def busy_per_photo(samples: list[Sample]) -> float:
    return (samples[-1].busy - samples[0].busy) / (samples[-1].done - samples[0].done)


def same_rate(samples: list[Sample]) -> float:
    """Processor time a photo of the last fifth against one of the second; the first warms up."""
    fifth = len(samples) // 5
    return busy_per_photo(samples[-fifth:]) / busy_per_photo(samples[fifth : 2 * fifth])


def misses(samples: list[Sample], seconds: float, done: int, told: float, total: int) -> tuple[float, float]:
    """How far the time left told after `done` photos is off: on the clock, and in processor time at the rate till then."""
    at = next(sample for sample in samples if sample.done >= done)
    first, last = samples[0], samples[-1]
    work = busy_per_photo([first, at]) * (last.done - at.done) / (last.busy - at.busy)
    return told / (seconds - at.seconds) - 1, work - 1


def test_a_long_run_stays_as_it_began(amount: Callable[[int, int], int], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    total = amount(150, int(os.environ.get("XAI_TORTURE_PHOTOS", "20000")))
    full = total > 1000
    photos = tmp_path / "photos"
    photos.mkdir()
    if full:
        tiny_imagenet(photos, total, request.getfixturevalue("assets"))
    else:
        noise(photos, total)
    model = ["--model", "tiny"] if full else ["--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32"]
    words = ["score", str(photos), *model, "--method", "grad-cam", "--metric", "deletion@steps=4", "--no-controls"]
    told = tmp_path / "told.txt"
    with open(told, "w", encoding="utf-8") as err:
        line = [sys.executable, "-m", "xaicli.cli.main", *words, "--format", "jsonl", "-o", str(tmp_path / "s.db")]
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=err)
        began = time.monotonic()
        log = Path(os.environ.get("XAI_TORTURE_LOG", tmp_path / "load.jsonl"))
        samples = list(watched(child, total, log))
        assert child.wait() == 0, told.read_text()
    seconds = time.monotonic() - began
    settled = samples[len(samples) // 10 :]
    grown = settled[-1].bytes - settled[0].bytes
    assert grown < GROWTH
    # A photo is open for a moment.
    assert settled[-1].files <= settled[0].files + 2
    tally = Tally("photos in one run of xai score", tried=total, endings={"scored": total})
    if full:
        told_left = LEFT.search(told.read_text())
        assert told_left is not None, told.read_text()
        rate = same_rate(samples)
        off, off_by_work = misses(samples, seconds, int(told_left[1]), seconds_in(told_left[3]), total)
        tally.example = (
            f"{settled[0].bytes >> 20} MiB after a tenth, {settled[-1].bytes >> 20} at the end, {settled[-1].files} open files; "
            f"a photo of the last fifth takes {rate:.2f} times the processor time of one of the second; time left off by "
            f"{off:+.0%}, in processor time by {off_by_work:+.0%}"
        )
        tally.keep()
        assert rate < SPREAD
        # Of the clock on the wall other programs take what they like.
        assert abs(off_by_work) < TOLD_WITHIN
        return
    tally.example = f"grew by {grown >> 20} MiB after a tenth; {settled[-1].files} open files at both"
    tally.keep()
