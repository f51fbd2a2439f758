"""Start-up of the command line: seconds in fresh processes, and what they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.timing import seconds_of_command

COMMANDS = {("--help",): 0.15, ("list", "methods"): 0.25, ("--version",): None}
HEAVY = ("torch", "torchvision", "scipy", "matplotlib", "PIL")


def measure(rounds: int) -> list[Figure]:
    script = str(Path(sys.executable).with_name("xai"))
    figures = []
    for words, limit in COMMANDS.items():
        line = " ".join(("xai", *words))
        times = seconds_of_command([sys.executable, script, *words], max(rounds, 11))
        figures.append(Figure(line, "s", tuple(times), limit))
        heavy = imported([sys.executable, "-X", "importtime", script, *words])
        figures.append(Figure(f"{line}: imports of {', '.join(heavy) or 'torch and its like'}", "", (float(len(heavy)),), 0))
    bare = seconds_of_command([sys.executable, "-c", "pass"], max(rounds, 11))
    return [*figures, Figure("an empty Python", "s", tuple(bare))]


def imported(command: list[str]) -> list[str]:
    """The heavy packages that a command imports."""
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    modules = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    return [name for name in HEAVY if name in modules]
