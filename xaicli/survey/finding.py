"""What an audit finds in one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.attribution import Attribution
from xaicli.description import weights_of
from xaicli.images.marks import REGION
from xaicli.record import BASELINE_VALUE, Record
from xaicli.survey.map_grids import Floats, shares_of
from xaicli.survey.measures import (
    border_share,
    corner_share,
    disagreement,
    doubt,
    energy,
    overlap,
    overlap_at_half,
    quadrant,
)
from xaicli.targets import REGION as AT_REGION

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PhotoFinding:
    """One photo of an audit. Numbers are of the first method's map, unless they compare all; None where they cannot be known.

    target: the explained class, by which maps are grouped; label, right: the true class, and whether the decision is it; outside:
    the share of the map beside the marked object, which covers `area` of the view; overlap: IoU of the object and the map above
    half of its maximum; grid: the map's shares (16, 16); stems: the files of the maps, by method, without endings; explained: of
    a network of features, which decides nothing, what its map explains, in words.
    """

    image: str
    photo: str
    frame: int
    decision: str | None
    p: float | None
    target: str
    status: str
    label: str | None = None
    right: bool | None = None
    disagreement: float | None = None
    outside: float | None = None
    area: float | None = None
    overlap: float | None = None
    agreement: float | None = None
    border: float | None = None
    corner: float | None = None
    doubt: float | None = None
    grid: Floats | None = field(default=None, repr=False)
    stems: dict[str, Path] = field(default_factory=dict, repr=False)
    explained: str = ""

    @property
    def quadrant(self) -> str | None:
        """XEdgeAI's quadrant; None without ground truth."""
        if self.agreement is None or self.outside is None:
            return None
        return quadrant(self.agreement, 1 - self.outside)

    def record(self) -> dict[str, Any]:
        """The photo as a plain record, numbers rounded to four digits."""
        names = ("image", "label", "decision", "p", "right", "target", "disagreement", "outside", "area", "overlap", "border")
        row = {name: rounded(getattr(self, name)) for name in (*names, "corner", "doubt")}
        explained = {"explained": self.explained} if self.explained else {}
        return {**row, **explained, "quadrant": self.quadrant, "status": self.status}


def finding_of(
    maps: Sequence[Attribution],
    label: str | None = None,
    right: bool | None = None,
    mask: Mask | None = None,
    stems: dict[str, Path] | None = None,
) -> PhotoFinding:
    """The finding of one photo from its maps, one per method.

    label, right: the true class, and whether the decision is it, if known; mask: where the object is in the model's view, bool
    (H, W) at any resolution; of a region of a class map the prediction is compared with it.
    """
    first = maps[0]
    record = first.record
    decision = record.decision
    grids = [shares_of(one.values, one.sign) for one in maps]
    marked: dict[str, Any] = {}
    if mask is not None and mask.any() and grids[0] is not None:
        weights = weights_of(np.asarray(first.values, dtype=np.float64), first.sign)
        marked = {"outside": 1 - energy(weights, mask), "area": float(mask.mean()), "overlap": overlap_at_half(weights, mask)}
    known = {} if grids[0] is None else {"border": border_share(grids[0]), "corner": corner_share(grids[0])}
    return PhotoFinding(
        image=record.image,
        photo=record.photo,
        frame=record.frame,
        decision=None if decision is None else decision.name,
        p=None if decision is None else decision.probability,
        target=class_of(record),
        status=record.status,
        label=label,
        right=right,
        disagreement=disagreement(grids),
        agreement=agreement_of(first, right, mask),
        doubt=doubt([one.probability for one in record.top]) if BASELINE_VALUE not in record.extras and decision else None,
        grid=grids[0],
        stems=stems or {},
        explained=record.explains,
        **marked,
        **known,
    )


def class_of(record: Record) -> str:
    """The name of the explained class, without the region or the number of the box, which differ from photo to photo."""
    name = record.target_name.partition(AT_REGION)[0]
    return name.rpartition(" (box:")[0] or name if record.box else name


def agreement_of(attribution: Attribution, right: bool | None, mask: Mask | None) -> float | None:
    """How well the model's answer fits the label: of a class map the IoU of the predicted and the marked region, else 1 or 0."""
    region = attribution.extras.get(REGION)
    if region is not None and mask is not None:
        return overlap(region.astype(np.bool_), mask)
    return None if right is None else float(right)


def rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
