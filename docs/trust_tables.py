"""What docs/trust.md shows of the certificates in docs/results/trust: tables, sentences, and orderings that papers report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.page_words import wrapped
from xaicli.runs.planting import FEWEST_LEFT_OUT
from xaicli.runs.trust_table import ALARM, BETTER, FIDELITY, FOUND, MEANINGS, PHOTOS, PHOTOS_AND_COST, QUARTER, RANDOM, counts
from xaicli.words import count

Certificate = dict[str, Any]
"""As `xai trust --format json` writes it."""


@dataclass(frozen=True)
class Ordering:
    """That a method has more of a property than another, as `source` reports."""

    more: str
    less: str
    property: str
    source: str


SANITY = "Adebayo et al., 2018"
GRID = "Böhle et al., 2022; Rao et al., 2022"
FOCUS = "Arias-Duart et al., 2022"
SCORE_CAM = "Wang et al., 2020"
PERTURBATION = "Chefer et al., 2021"
ORDERINGS = (
    Ordering("guided-backprop", "saliency", RANDOM, SANITY),
    Ordering("guided-grad-cam", "grad-cam", RANDOM, SANITY),
    *(Ordering("grad-cam", less, QUARTER, GRID) for less in ("saliency", "input-x-gradient", "guided-backprop")),
    *(Ordering(more, less, QUARTER, FOCUS) for more in ("grad-cam", "lrp") for less in ("smoothgrad", "integrated-gradients")),
    *(Ordering("score-cam", less, FIDELITY, SCORE_CAM) for less in ("grad-cam", "grad-cam++")),
    Ordering("gae", "attention-rollout", FIDELITY, PERTURBATION),
)


def trust_tables(folder: Path) -> str:
    """What the columns say, a section for each network, and the orderings."""
    stored = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [part for one in stored for part in section(one)]
    return "\n".join([*columns(), *parts, *orderings(stored)])


def columns() -> Iterator[str]:
    """How the tables are read: what each column says, and why fewer photos can give larger counts."""
    yield from ("### How to read the tables", "")
    yield wrapped(
        f"A row is a method; the first has the largest `{FOUND}` less `{ALARM}`. A number is a mean over photos, with "
        "its 95 % interval in brackets. ↑ marks a column where more is better, ↓ one where less is. Methods in italics are "
        "controls: they know nothing of the photo, so what they find is chance. – stands where a method has no such number."
    )
    yield ""
    yield from (wrapped(f"- `{head(name)}`: {meaning}.") for name, meaning in (MEANINGS | PHOTOS_AND_COST).items())
    yield ""
    yield wrapped(
        f"From {2 * FEWEST_LEFT_OUT} photos on, the heads are fitted to every other photo, and the patch is scored on the rest. "
        "With fewer photos it is scored on all of them. So the first two numbers of `n` can be as large for "
        f"{FEWEST_LEFT_OUT} photos as for {2 * FEWEST_LEFT_OUT}. A photo is counted once for each patch that "
        "is planted in it, and not where the head does not do what it was fitted to do."
    )
    yield ""


def head(name: str) -> str:
    """The head of a column, with an arrow towards what is better."""
    return name + BETTER.get(name, "")


def photos_of(stored: Certificate) -> str:
    """How many photos a network was measured on, and which of them fit the heads."""
    number = stored["photos"]
    held = number // 2
    measured = f"Measured on {count(number, 'photo')}: the heads are fitted to"
    if held < FEWEST_LEFT_OUT:
        return f"{measured} all of them, and the patch is scored on all."
    return f"{measured} {number - held}, and the patch is scored on the other {held}."


def section(stored: Certificate) -> Iterator[str]:
    """A network's summary, table, recommendation and sentences."""
    names = list(dict.fromkeys(name for method in stored["methods"] for name in method["properties"]))
    about = f"On {stored['model']}, "
    yield from (f"### {short(stored)}", "", photos_of(stored), "", f"{stored['recommendation']}", "")
    yield f"| method | {' | '.join(map(head, names))} | {PHOTOS} | passes |"
    yield "|---" * (len(names) + 3) + "|"
    for method in stored["methods"]:
        label = f"*{method['method']}*" if method["control"] else method["method"]
        row = [interval(method["properties"].get(name)) for name in names]
        photos = counts({name: found["n"] for name, found in method["properties"].items()})
        yield f"| {label} | {' | '.join(row)} | {photos} | {method['passes']:.3g} |"
    yield from ("", f"`{stored['summary']}`", "")
    yield from (
        f"- {text}." for text in [*stored["remarks"], *stored["not_checked"], *(f"Left out: {why}" for why in stored["left_out"])]
    )
    yield from ("", "<details><summary>In sentences</summary>", "")
    yield from (f"- {text.removeprefix(about)}" for text in stored["sentences"])
    yield from ("", "</details>", "")


def short(stored: Certificate) -> str:
    """The network, without its file of weights."""
    return str(stored["model"]).partition("@weights=")[0]


def interval(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    ends = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['value']:.2f}{ends}"


def orderings(stored: list[Certificate]) -> Iterator[str]:
    """A table of what papers report and each network shows; nothing where no network has both methods of any."""
    rows = [row for one in ORDERINGS if (row := judged(one, stored))]
    if not rows:
        return
    yield from ("### Published orderings", "", INTRODUCTION, "")
    yield f"| reported | of | by | {' | '.join(map(short, stored))} |"
    yield "|---" * (3 + len(stored)) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    told = [cell for row in rows for cell in row[3:]]
    yield from ("", f"{told.count(AGREES)} of {len(told) - told.count('–')} agree, {told.count(CONTRADICTS)} contradict.", "")


AGREES, CONTRADICTS = "agrees", "**contradicts**"
INTRODUCTION = """What papers report of other networks and photos. A network *agrees* where the 95 % interval of the first method
lies wholly above that of the second, and *contradicts* where it lies wholly below; otherwise the two are not told apart with so
few photos. More of `survives random weights` is worse, of the others better."""


def judged(one: Ordering, stored: list[Certificate]) -> list[str]:
    """The row of an ordering; empty where no network has both methods."""
    cells = [compared(one, {method["method"]: method["properties"] for method in each["methods"]}) for each in stored]
    return [f"{one.more} above {one.less}", one.property, one.source, *cells] if set(cells) != {"–"} else []


def compared(one: Ordering, methods: dict[str, dict[str, Any]]) -> str:
    more, less = (methods.get(label, {}).get(one.property) for label in (one.more, one.less))
    if more is None or less is None or None in (more["low"], less["low"]):
        return "–"
    if more["low"] > less["high"]:
        return AGREES
    return CONTRADICTS if more["high"] < less["low"] else "not told apart"
