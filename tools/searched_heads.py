"""The heads' part of docs/models.md: what their search found, and whether a trained head beats what needs no training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.page_words import shown, wrapped
from xaicli.results.comparisons import turned
from xaicli.results.intervals import Estimate
from xaicli.results.summary import Group

FIGURES = Path("docs/results/head_search.jsonl")
INSERTION, DROP = "insertion@steps=14", "average-drop@area=50@mask=binary"
"""What the search ranks by; the model card's own insertion has more steps."""
METRIC = "insertion"
RIVAL, CONTROL = "grad-cam", "center"
Row = Mapping[str, Any]


def read_rows(path: Path = FIGURES) -> list[Row]:
    """Rows of the search, round by round, the best of a round first; none where there was no search."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def winner(rows: Sequence[Row], method: str, model: str) -> Row | None:
    """The best candidate of the last round; None where nothing was searched."""
    mine = rows_of(rows, method, model)
    return next((row for row in mine if row["round"] == mine[-1]["round"]), None)


def rows_of(rows: Sequence[Row], method: str, model: str) -> list[Row]:
    return [row for row in rows if (row["method"], row["model"]) == (method, model)]


def section(rows: Sequence[Row]) -> str:
    """How the heads' rate, epochs and area weight were found; nothing where there was no search."""
    if not rows:
        return ""
    searches = list(dict.fromkeys((row["method"], row["model"]) for row in rows))
    begun, last = [row for row in rows_of(rows, *searches[0]) if row["round"] == 1], rows[-1]
    about = (
        f"Rate, epochs and area weight of each head were searched by `python -m tools.head_search`: {len(begun)} candidates were "
        f"trained on {begun[0]['photos']:,} photos, then the better half on twice as many, and so on to {last['photos']:,}. "
        f"They were ranked by insertion and average drop together, on {last['scored']} held-out photos that the tables below do "
        "not use. The winners were then trained on more photos, as each network's list below says, which did not change their "
        "insertion measurably: how it differs from Grad-CAM's in the scores below lies within the intervals of this table. "
        "The last round of each, the winner first; 95 % intervals in brackets:"
    )
    table = [
        "| network | head | lr | epochs | area weight | insertion ↑ | less grad-cam | average drop, % ↓ |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method, model in searches:
        mine = rows_of(rows, method, model)
        table += [line(row) for row in mine if row["round"] == mine[-1]["round"]]
    return "\n\n".join(["## How the heads were tuned", wrapped(about), "\n".join(table)]) + "\n"


def line(row: Row) -> str:
    scores = row["scores"]
    settings = f"{row['lr']:g} | {row['epochs']} | {row['area']:g}"
    gap = shown(scores[f"{INSERTION} less grad-cam"], 3)
    return f"| {row['model']} | {row['method']} | {settings} | {shown(scores[INSERTION], 3)} | {gap} | {shown(scores[DROP], 1)} |"


def verdicts(group: Group, heads: Sequence[str]) -> str:
    """A line for each head on what it gains over `center`, and one on what the better head gains over Grad-CAM, by insertion."""
    known = [head for head in heads if (head, METRIC) in group.cells]
    if not known:
        return ""
    lines = [f"- {said(head, CONTROL, gap(group, head, CONTROL))}" for head in known]
    best = max(known, key=lambda head: group.cells[head, METRIC].estimate.value or 0.0)
    return "\n".join([*lines, f"- The better head at one pass: {said(best, RIVAL, gap(group, best, RIVAL))}"]) + "\n"


def said(head: str, other: str, difference: Estimate | None) -> str:
    """`t-tame beats center on insertion (difference 0.020 [0.010, 0.030], 500 photos).`"""
    if difference is None or difference.low is None or difference.high is None:
        return f"{head} was not compared with {other} on {METRIC}."
    word = "beats" if difference.low > 0 else "is worse than" if difference.high < 0 else "cannot be told from"
    by = shown([difference.value, difference.low, difference.high], 3)
    return f"{head} {word} {other} on {METRIC} (difference {by}, {difference.n} photos)."


def gap(group: Group, first: str, second: str) -> Estimate | None:
    """First minus second on insertion, paired; None where they were not compared."""
    for found in group.comparisons:
        if found.metric == METRIC and {found.first, found.second} == {first, second}:
            return found.difference if found.first == first else turned(found.difference)
    return None
