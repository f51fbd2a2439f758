"""Recorded results: how one is kept in files, and what differs between a recorded one and one that was made now.

The JSON file holds a line for each entry, under its section and key; the NPZ file holds the maps that are kept whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli import make_metric
from xaicli.builtin import METRICS

DATA = Path(__file__).parents[1] / "data"
TEXT, ARRAYS = DATA / "results_before_the_move.json", DATA / "results_before_the_move.npz"

DEFINITIONS, MAPS, SCORES, OTHER = "definitions", "maps", "scores", "scores of the control other"
SECTIONS = (DEFINITIONS, MAPS, SCORES, OTHER)
MAP, SAMPLES = "map", "samples"
"""Names of numbers: whole maps, which go to the NPZ file, and what is kept of others."""

TOLERANCE = 1e-5
"""How far a number may lie from the recorded one, as a share of the range of such numbers: other processors round otherwise."""
LOOSER = {"xgrad-cam": 100, "largest_gradient": 100, "lrp": 20, "infidelity": 10, "normalised": 10, "error": 10}
"""How many times farther, by definition or by name of number, where something is divided by what is nearly nothing: measured with
the vector instructions of older processors (AVX2, SSE4)."""
AT_LEAST = {"gap": 1.0, "identity_error": 1.0, "tied": 1000.0}
"""The least range, by name of number, of those that are nothing but rounding where all is well, or that count equal floats."""
FLAT = 0.1
"""A map's range is no less than this share of its largest value: rounding grows with the values, however flat the map."""
DIGITS = 7

Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Entry:
    """One result: what must be equal, and numbers that must be close, by name, NaN where there is none.

    raw: all bytes of the numbers, before any was rounded or left out.
    """

    exact: Mapping[str, Any]
    numbers: Mapping[str, Numbers]
    raw: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 over stamps, words and every byte of the numbers."""
        return hashlib.sha256(json.dumps(self.exact, sort_keys=True).encode() + self.raw).hexdigest()


Section = dict[str, Entry]
"""Entries by key. The words of a key: the name of a definition; network, method and target of a map; sheet, method and metric of
scores."""
Book = dict[str, Section]


def read_book() -> Book:
    """The recorded results; raises FileNotFoundError where nothing was recorded."""
    told = json.loads(TEXT.read_text())
    with np.load(ARRAYS) as arrays:
        whole = dict(arrays)
    return {section: {key: entry_of(line, whole.get(key)) for key, line in told[section].items()} for section in SECTIONS}


def entry_of(line: dict[str, Any], whole: Numbers | None) -> Entry:
    numbers: dict[str, Numbers] = {name: np.array(values, dtype=np.float64) for name, values in line["numbers"].items()}
    if whole is not None:
        numbers[MAP] = whole
    return Entry(line["exact"], numbers)


def write_book(book: Book) -> None:
    """Write both files, an entry a line, in the order of their keys."""
    parts = []
    for section in SECTIONS:
        lines = [f"  {json.dumps(key)}: {line_of(entry)}" for key, entry in sorted(book[section].items())]
        parts.append(f"{json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n }")
    TEXT.write_text("{\n " + ",\n ".join(parts) + "\n}\n")
    whole = {key: entry.numbers[MAP] for key, entry in sorted(book[MAPS].items()) if MAP in entry.numbers}
    np.savez_compressed(ARRAYS, **whole)


def line_of(entry: Entry) -> str:
    numbers = {name: rounded(values) for name, values in entry.numbers.items() if name != MAP}
    return json.dumps({"exact": entry.exact, "numbers": numbers}, separators=(",", ":"))


def rounded(values: Any) -> Any:
    """Numbers as they stand in the file, null in place of NaN."""
    if np.ndim(values):
        return [rounded(value) for value in values]
    return float(f"{values:.{DIGITS}g}") if np.isfinite(values) else None


def names_of(key: str) -> set[str]:
    """The methods and metrics that an entry is a result of: `ucag@base=grad-cam` is of two."""
    return {name for word in key.split() for name in re.findall(r"(?:^|@base=)([^@]+)", word)}


def kind_of(key: str) -> str:
    """Entries of one kind share the range that the tolerance refers to: all rows of a metric in a sheet; a map has its own."""
    words = key.split()
    return f"{words[0]} {words[2]}" if len(words) == 3 and metric_of(key) else key


def metric_of(key: str) -> str:
    """The metric that scores are of; empty for other entries."""
    name = key.split()[-1].partition("@")[0]
    return name if name in METRICS else ""


def differences(recorded: Section, now: Section) -> list[str]:
    """What differs, a line a fact: results that are not made any more, stamps, words, and numbers."""
    ranges = ranges_of(recorded)
    found = []
    for key, entry in recorded.items():
        if key not in now:
            found.append(f"{key}: is not made any more")
            continue
        made = now[key]
        for name in {**entry.exact, **made.exact}:
            if entry.exact.get(name) != made.exact.get(name):
                found.append(f"{key}: {name} is {made.exact.get(name)!r}, and was {entry.exact.get(name)!r}")
        for name in {**entry.numbers, **made.numbers}:
            if line := off(entry.numbers.get(name), made.numbers.get(name), allowed(key, name, ranges)):
                found.append(f"{key}: {name} {line}")
    return found


def off(recorded: Numbers | None, made: Numbers | None, most: float) -> str:
    """In words, how numbers differ; empty where they are close."""
    if recorded is None or made is None:
        return "is new" if recorded is None else "is not there any more"
    if recorded.shape != made.shape:
        return f"has shape {made.shape}, and had {recorded.shape}"
    known = np.isfinite(recorded)
    if not np.array_equal(known, np.isfinite(made)):
        return "is finite elsewhere than it was"
    distance = np.abs(made.astype(np.float64) - recorded)[known].max(initial=0.0)
    return f"is off by {distance:.2g}, and {most:.2g} is rounding" if distance > most else ""


def allowed(key: str, name: str, ranges: Mapping[tuple[str, str], float]) -> float:
    """How far a number of an entry may be off."""
    looser = max(LOOSER.get(word, 1) for word in (*names_of(key), name))
    return TOLERANCE * looser * ranges.get((kind_of(key), name), 0.0)


def ranges_of(recorded: Section) -> dict[tuple[str, str], float]:
    """The range of numbers by kind and name: what the metric declares, or what was recorded, zero included but for maps."""
    parts = defaultdict(list)
    for key, entry in recorded.items():
        for name, values in entry.numbers.items():
            parts[kind_of(key), name].append(values[np.isfinite(values)].astype(np.float64))
    ranges = {}
    for (kind, name), lists in parts.items():
        values = np.concatenate(lists)
        largest = np.abs(values).max(initial=0.0) * (FLAT if name in (MAP, SAMPLES) else 1.0)
        declared = np.ptp(make_metric(kind.split()[-1]).range) if name == "value" else 0.0
        spread = [np.ptp(values) if values.size else 0.0, largest, declared, AT_LEAST.get(name, 0.0)]
        ranges[kind, name] = float(max(part for part in spread if np.isfinite(part)))
    return ranges
