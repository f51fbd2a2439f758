"""Which photos to look at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from xaicli.survey.finding import PhotoFinding
from xaicli.survey.map_grids import Floats

COUNTED = ("disagreement", "outside", "border", "corner")
"""The measures whose ranks make up the suspicion."""
ORDERS = ("suspicion", *COUNTED, "doubt")


def suspicions(findings: Sequence[PhotoFinding]) -> Floats:
    """The suspicion of each photo: the mean, over the measures that it has, of the share of photos that have less of it; 0 to 1,
    0.5 for a photo that stands out in nothing."""
    ranks = np.stack([percentiles([getattr(one, name) for one in findings]) for name in COUNTED])
    known = ~np.isnan(ranks)
    total: Floats = np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), total, 0.0)


def percentiles(values: Sequence[float | None]) -> Floats:
    """The share of known values below each, equal ones counted half; NaN where a value is not known."""
    table = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = ~np.isnan(table)
    found = np.full(len(table), np.nan)
    if known.any():
        found[known] = (scipy.stats.rankdata(table[known]) - 0.5) / known.sum()
    return found


def order(findings: Sequence[PhotoFinding], by: str) -> list[int]:
    """The positions of the photos, the one with most of a measure first; those without it last."""
    values = suspicions(findings) if by == "suspicion" else [getattr(one, by) for one in findings]
    table = np.array([-np.inf if value is None else value for value in values], dtype=np.float64)
    return [int(at) for at in np.argsort(-table, kind="stable")]


def confusions(findings: Sequence[PhotoFinding]) -> list[dict[str, Any]]:
    """How often each label was taken for another class, the most frequent first."""
    pairs = Counter((one.label, one.decision) for one in findings if one.right is False and one.label is not None)
    labelled = Counter(one.label for one in findings)
    return [
        {"label": label, "decision": decision, "photos": number, "of": labelled[label]}
        for (label, decision), number in pairs.most_common()
    ]


def worst_errors(findings: Sequence[PhotoFinding]) -> list[int]:
    """The positions of the photos that were taken for another class, the most certain error first."""
    wrong = [at for at, one in enumerate(findings) if one.right is False]
    return sorted(wrong, key=lambda at: -(findings[at].p or 0.0))
