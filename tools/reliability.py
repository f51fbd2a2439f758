"""docs/reliability.md from the tallies that tests/torture leaves: `python -m tools.reliability FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEAD = """# Reliability

What was tried to break `xai`, how often, and how it ended. Generated from seeded attacks (`tests/torture/`): all of them by
`make torture`, a few of each with the other tests. The suite fails at a crash, a traceback, "a fault in xai itself", a photo that
takes more than ten seconds, more than 1.5 GiB of memory, a file that a reader changed, a value that changed silently in a file
that has a checksum (stores, sidecars and their maps, baselines, checkpoints), a result that differs from an undisturbed run, or a
leftover. After each run that was stopped or met a limit the same command ran again, and gave what an undisturbed run gives.

| attack | tried | how it ended | slowest | what a user sees |
| --- | ---: | --- | ---: | --- |
"""

FOOT = """
A flipped bit in
a file without a checksum (a plain array, weights, a suite, a list; a store of before there were checksums) may be read as another
value; a network that is read so has another fingerprint, so that its results are kept apart. Writing to an empty file begins a
new store. Processor time and memory are compared within one run; how right a time left is depends on what else the machine does.

Memory of a large photo: `xai explain` takes some 670 MiB before it reads one (CUDA build of torch, 311 MiB of them pages of its
libraries), and a photo may take 850 MiB more while it is decoded; what would take more is refused before it is decoded, with
the number. So a plain JPEG of 179 megapixels, the most that are read, peaks at 1,465 MiB, one of CMYK at 1,484. Photos of 151
megapixels are taken up to a file of 246 MiB; grey of 16 bits and 64 megapixels peaks at 1,097. Several bands of more than 8
bits (TIFF, `.npy`, DICOM) reach the network with all their bits: they have a limit of their own, 1 GiB of numbers in the file,
and may take more than 1.5 GiB.

What is trusted and what is not stands in
[SECURITY.md](../SECURITY.md).

## How to repeat them

`make torture` repeats all of them. In a checkout, each of these repeats one, as often as the table says; without
`XAI_TORTURE=full` it is tried a few times.

"""

LONGEST = 240
"""Letters of an example."""


def row(tally: Mapping[str, Any]) -> str:
    endings = ", ".join(f"{count:,} {ending}" for ending, count in sorted(tally["endings"].items(), key=lambda item: -item[1]))
    slowest = f"{tally['slowest']:.2f} s" if tally["slowest"] else ""
    example = " ".join(tally["example"].split()).replace("|", "\\|")
    shown = example if len(example) <= LONGEST else f"{example[: LONGEST - 1]}…"
    return f"| {tally['attack']} | {tally['tried']:,} | {endings} | {slowest} | {shown} |\n"


def page(folder: Path) -> str:
    tallies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    commands = "".join(f"- {tally['attack']}: `{tally['command']}`\n" for tally in tallies)
    return HEAD + "".join(row(tally) for tally in tallies) + FOOT + commands


def main(words: Sequence[str] | None = None) -> int:
    (folder,) = sys.argv[1:] if words is None else words
    sys.stdout.write(page(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
