"""The heads' part of docs/models.md: what their search found, and whether a trained head beats what needs no training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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
    begun, last = first_round(rows, *searches[0]), rows[-1]
    about = (
        f"Rate, epochs and area weight of each head were searched by `python -m tools.head_search`: {len(begun)} candidates were "
        f"trained on {begun[0]['photos']:,} photos, then the better half on twice as many, and so on to {last['photos']:,}. "
        f"They were ranked by insertion and average drop together, equals by insertion, on {last['scored']} held-out photos that "
        f"the tables below do not use; this insertion has 14 steps, that of the tables below 28.{tried(rows, searches)} "
        "The winners were then trained on more photos, as each network's list below says, which did not change their "
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


def first_round(rows: Sequence[Row], method: str, model: str) -> list[Row]:
    """All candidates of a search."""
    return [row for row in rows_of(rows, method, model) if row["round"] == 1]


def tried(rows: Sequence[Row], searches: Sequence[tuple[str, str]]) -> str:
    """What the candidates were, and whether the winners lie at the edge of it."""
    told = []
    for method in dict.fromkeys(method for method, _ in searches):
        mine = first_round(rows, method, next(model for of, model in searches if of == method))
        values = (f"{name} {listed(row[key] for row in mine)}" for key, name in (("lr", "rates"), ("area", "area weights")))
        told.append(f"{' and '.join(values)} for `{method}`")
    epochs = listed(row["epochs"] for row in first_round(rows, *searches[0]))
    edge = all(at_the_edge(rows, method, model) for method, model in searches)
    more = " Every winner has the highest rate and the most epochs that were tried, so still more may be better." if edge else ""
    return f" Tried were {'; '.join(told)}; {epochs} epochs.{more}"


def listed(values: Iterable[float]) -> str:
    """`0.003, 0.01 or 0.03`"""
    *others, last = (f"{value:g}" for value in sorted(set(values)))
    return f"{', '.join(others)} or {last}" if others else last


def at_the_edge(rows: Sequence[Row], method: str, model: str) -> bool:
    """Whether the winner has the highest rate and the most epochs of all candidates."""
    mine, best = first_round(rows, method, model), winner(rows, method, model)
    return best is not None and all(best[key] == max(row[key] for row in mine) for key in ("lr", "epochs"))


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
    return "\n".join([*lines, f"- The better head: {said(best, RIVAL, gap(group, best, RIVAL))}"]) + "\n"


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
