"""The model card's figures in the bundled files' own records, where `xai list checkpoints` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.card_scores import CardScores, shown
from tools.default_methods import METRIC
from tools.searched_heads import CONTROL, RIVAL, gap
from xaicli.models.checkpoint import BUNDLED, ENDING
from xaicli.models.checkpoint_content import IN_SHORT, add_figures
from xaicli.packages import versions
from xaicli.results.intervals import Estimate
from xaicli.results.sentences import with_interval


def record(name: str, scores: CardScores, heads: Sequence[str]) -> None:
    """Write what was measured of a network, and of its heads, into their files."""
    about = {"scored": scores.group.photos, "photos": scores.photos, "versions": versions()}
    methods = {method: scores_of(scores, method) for method in (*scores.group.methods, *scores.group.controls)}
    accuracy = {"top-1": as_json(scores.first), "top-5": as_json(scores.five)}
    short = f"top-1 {shown(scores.first)}, {scores.first.n:,} photos"
    add_figures(BUNDLED / f"{name}{ENDING}", {IN_SHORT: short, **about, "accuracy": accuracy, "scores": methods})
    for head in heads:
        own = scores.group.cells[head, METRIC].estimate
        leads = {other: as_json(found) for other in (RIVAL, CONTROL) if (found := gap(scores.group, head, other)) is not None}
        figures = {"scores": methods[head], f"{METRIC} less that of": leads}
        short = f"{METRIC} {with_interval(own)}, {own.n:,} photos"
        add_figures(BUNDLED / f"{name}.{head}{ENDING}", {IN_SHORT: short, **about, **figures})


def scores_of(scores: CardScores, method: str) -> dict[str, Any]:
    """The means of a method by metric, in the metric's own unit."""
    cells = scores.group.cells
    return {metric: as_json(cells[method, metric].estimate) for metric in scores.group.metrics if (method, metric) in cells}


def as_json(estimate: Estimate) -> dict[str, Any]:
    """A mean or difference, its 95 % interval, and the number of photos behind it."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "photos": estimate.n}
