"""Generate the tables of docs/ci.md and docs/trust.md from what was measured: `python -m docs.measured`.

`python -m benchmarks parity --write` measures the one; `docs/results/README.md` says how the other was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from docs.trust_tables import trust_tables

HERE = Path(__file__).parent
PARITY = HERE.parent / "benchmarks" / "results" / "parity.json"
TRUST = HERE / "results" / "trust"
PARITY_MARKS = "<!-- parity: python -m docs.measured -->\n", "<!-- end of parity -->"
TRUST_MARKS = "<!-- trust: python -m docs.measured -->\n", "<!-- end of trust -->"


def between(page: str, marks: tuple[str, str], content: str) -> str:
    """The page with the text between two marks replaced."""
    before, mark, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    assert mark, f"no mark {marks[0]!r}"
    assert end, f"no mark {marks[1]!r}"
    return f"{before}{mark}\n{content}\n{end}{after}"


def parity_table(stored: dict[str, Any]) -> str:
    """The planted faults and faithful exports of each network, and what was found of them."""
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for figure in stored["figures"][:-1]:
        network, kind, what, measure = figure["what"].split("; ")
        cells.setdefault((network, kind, what), {})[measure] = figure["values"]
    lines = [
        "| network | export | verdict | decision moved | looks elsewhere | probability | map correlation |",
        "|---" * 7 + "|",
    ]
    for (network, kind, what), found in cells.items():
        failed = round(sum(found["found"]))
        verdict = ("found" if failed else "**missed**") if kind == "fault" else f"{failed} of {len(found['found'])} alarms"
        moved, elsewhere = (ranged(found[name], "g") for name in ("decision moved", "looks elsewhere"))
        numbers = ranged(found["probability"], "+.3f"), ranged(found["correlation"], ".3f")
        lines.append(f"| {network} | {what} | {verdict} | {moved} | {elsewhere} | {' | '.join(numbers)} |")
    alarms = [value for (_, kind, _), found in cells.items() if kind == "faithful" for value in found["found"]]
    low, high = stats.binomtest(round(sum(alarms)), len(alarms)).proportion_ci()
    note = [
        "Faults are looked for on twelve photos; each further set has four others, and a seed of its own.",
        "`occlusion@window=56@stride=28`, fp32; networks with real weights, in which five faults were planted. The exports after",
        "them are faithful. False alarms at faithful exports, with the 95 % interval:",
        f"{round(sum(alarms))} of {len(alarms)} runs, {100 * np.mean(alarms):.0f} % [{100 * low:.1f}, {100 * high:.1f}].",
    ]
    return "\n".join([*lines, "", *note])


def ranged(values: Sequence[float], form: str) -> str:
    """One value, or the smallest and the largest of several sets of photos."""
    low, high = (f"{value:{form}}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def pages() -> dict[Path, str]:
    """What both pages say by what is stored."""
    ci, trust = HERE / "ci.md", HERE / "trust.md"
    made = {}
    if PARITY.is_file():
        made[ci] = between(ci.read_text("utf-8"), PARITY_MARKS, parity_table(json.loads(PARITY.read_text("utf-8"))))
    if TRUST.is_dir():
        made[trust] = between(trust.read_text("utf-8"), TRUST_MARKS, trust_tables(TRUST))
    return made


def main() -> int:
    for path, text in pages().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
