"""What docs/trust.md shows of the certificates in docs/results/trust: tables, sentences, and orderings that papers report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.runs.trust_table import FIDELITY, PHOTOS, QUARTER, RANDOM, counts

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
    """A section for each network, and the orderings."""
    stored = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [part for one in stored for part in section(one)]
    return "\n".join([*parts, *orderings(stored)])


def section(stored: Certificate) -> Iterator[str]:
    """A network's summary, table, recommendation and sentences."""
    names = list(dict.fromkeys(name for method in stored["methods"] for name in method["properties"]))
    about = f"On {stored['model']}, "
    yield from (f"### {short(stored)}", "", f"{stored['recommendation']}", "")
    yield f"| method | {' | '.join(names)} | {PHOTOS} | passes |"
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
