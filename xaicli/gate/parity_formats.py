"""A comparison of two networks as text, JSON, Markdown, JUnit XML or annotations of a GitHub workflow."""

from __future__ import annotations

from typing import Any

from xaicli.gate.formats import in_cell, record_of, render
from xaicli.gate.parity import STATES, ComparedPhoto, ParityOutcome, State
from xaicli.gate.verdict import NAMED
from xaicli.terminal import printable
from xaicli.text_table import aligned
from xaicli.writable_text import json_text

SHOWN = STATES[::-1]
"""Agreement first, since it is of most photos."""


def render_pair(outcome: ParityOutcome, form: str, *, pictures: str = "", width: int = 0) -> str:
    """The three outcomes of photos, then all verdicts, in one of the gate's formats; ends in a line break. pictures, width: as in
    `formats.render`."""
    if form == "json":
        return to_json(outcome, pictures)
    verdicts = render(outcome, form, pictures=pictures, width=width)
    if form == "markdown":
        rows = "".join(f"| {' | '.join(map(in_cell, row))} |\n" for row in summary(outcome))
        return f"| photos | | worst |\n|---|---|---|\n{rows}\n{verdicts}"
    if form == "table":
        shown = [list(map(printable, row)) for row in summary(outcome)]
        return "".join(f"{line}\n" for line in aligned(shown, width=width)) + "\n" + verdicts
    return verdicts


def of_state(outcome: ParityOutcome, state: State) -> list[ComparedPhoto]:
    """The photos of one of the three outcomes, worst first."""
    return [outcome.compared[at] for at in outcome.ordered if outcome.compared[at].state == state]


def summary(outcome: ParityOutcome) -> list[tuple[str, str, str]]:
    """For each of the three outcomes: its name, how many photos, and the worst of them with a number."""
    rows: list[tuple[str, str, str]] = []
    for state in SHOWN:
        photos = of_state(outcome, state)
        worst = [] if state == "agrees" else [in_words(photo) for photo in photos[:NAMED]]
        more = ", …" if len(photos) > NAMED and worst else ""
        meaning = ": decides the same, but the map moved beyond the method's own noise" if state == "looks elsewhere" else ""
        rows.append((state, f"{len(photos)} of {len(outcome.compared)}", f"{', '.join(worst)}{more}{meaning if photos else ''}"))
    return rows


def in_words(photo: ComparedPhoto) -> str:
    """`kite.jpg 0.41 (0.93)`: the correlation of the maps, and that of two of the original's."""
    one = photo.agreements[photo.worst]
    if photo.state == "decision moved":
        return f"{photo.image} (p {photo.probabilities[0]:.2f}, {photo.probabilities[1]:.2f})"
    return f"{photo.image} {one.found.shortfall(one.floor)} ({one.noise.spearman:.2f})"


def photo_record(photo: ComparedPhoto) -> dict[str, Any]:
    """A compared photo as a plain record."""
    return {
        "image": photo.image,
        "outcome": photo.state,
        "target": photo.target,
        "decisions": list(photo.decisions),
        "probabilities": list(photo.probabilities),
        "maps": {
            label: {
                "spearman": finite(one.found.spearman),
                "overlap": one.found.overlap,
                "own_spearman": finite(one.noise.spearman),
                "own_overlap": one.noise.overlap,
                "agrees": one.holds,
            }
            for label, one in photo.agreements.items()
        },
    }


def finite(value: float) -> float | None:
    return value if value == value else None


def to_json(outcome: ParityOutcome, pictures: str) -> str:
    content = {
        "failed": outcome.failed(),
        "models": list(outcome.models),
        "outcomes": {state: len(of_state(outcome, state)) for state in SHOWN},
        "photos": [photo_record(outcome.compared[at]) for at in outcome.ordered],
        "verdicts": [record_of(verdict, outcome) for verdict in outcome.verdicts],
        "pictures": pictures,
    }
    return json_text(content, allow_nan=False) + "\n"
