"""The groups of alike maps in each class, those first whose maps lie at one place of the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from xaicli.survey.clusters import grouped
from xaicli.survey.finding import PhotoFinding, rounded
from xaicli.survey.map_grids import Floats, resampled
from xaicli.survey.measures import PARTS, border_share, place_in_words, place_of

EVEN = 1 / PARTS**2
"""The share of an even map at any place."""
STRIKING = 3 * EVEN
"""From this share on, by the lower end of its interval, a group is what a watermark looks like."""


@dataclass(frozen=True, eq=False)
class MapCluster:
    """Photos of one class whose maps are alike.

    members: positions of photos, the most typical first; mean: their mean map (16, 16), which sums to 1; share, low, high: the
    mean share of the map at `place`, a sixteenth of the view at its border, and the 95 % interval of that mean over the members;
    border: the mean share in the outer eighth; groups: how many groups the class has; stability: as in `Grouping`.
    """

    target: str
    members: tuple[int, ...]
    mean: Floats
    place: tuple[int, int]
    share: float
    low: float | None
    high: float | None
    border: float
    groups: int
    stability: float | None
    number: int = 0

    @property
    def where(self) -> str:
        return place_in_words(*self.place)

    @property
    def is_striking(self) -> bool:
        return stands_out(self.low)

    def record(self, findings: Sequence[PhotoFinding]) -> dict[str, Any]:
        """The cluster as a plain record, with what is known of its members."""
        mine = [findings[at] for at in self.members]
        judged = [one.right for one in mine if one.right is not None]
        outside = [one.outside for one in mine if one.outside is not None]
        numbers = {"share": self.share, "low": self.low, "high": self.high, "border": self.border}
        return {
            "cluster": self.number,
            "class": self.target,
            "photos": len(mine),
            "place": self.where,
            **{name: rounded(value) for name, value in numbers.items()},
            "outside": rounded(float(np.mean(outside))) if outside else None,
            "wrong": judged.count(False) if judged else None,
            "groups": self.groups,
            "stability": rounded(self.stability),
        }


def clusters_of(findings: Sequence[PhotoFinding], seed: int = 0) -> list[MapCluster]:
    """The groups of all classes, numbered from 1: first those with most of their maps at one place of the border, by the lower
    end of the interval, so that few photos must agree better than many."""
    found: list[MapCluster] = []
    for target in sorted({one.target for one in findings}):
        mine = [at for at, one in enumerate(findings) if one.target == target and one.grid is not None]
        if not mine:
            continue
        grids = np.stack([grid for at in mine if (grid := findings[at].grid) is not None])
        grouping = grouped(grids.reshape(len(grids), -1), seed)
        for group in range(grouping.count):
            inside = grouping.labels == group
            members = [at for at, chosen in zip(mine, inside, strict=True) if chosen]
            found.append(cluster_of(target, members, grids[inside], grouping.count, grouping.stability))
    ordered = sorted(found, key=lambda one: (one.low is None, -(one.low or 0.0), -len(one.members)))
    return [replace(one, number=number) for number, one in enumerate(ordered, 1)]


def stands_out(low: float | None) -> bool:
    """Whether a group stands out, by the lower end of its interval."""
    return low is not None and low >= STRIKING


def cluster_of(target: str, members: Sequence[int], grids: Floats, groups: int, stability: float | None) -> MapCluster:
    mean = grids.mean(axis=0)
    place = place_of(resampled(mean, (PARTS, PARTS)))
    shares = np.array([resampled(grid, (PARTS, PARTS))[place] for grid in grids])
    low, high = interval(shares)
    typical = np.argsort(np.square(np.sqrt(grids) - np.sqrt(mean)).sum(axis=(1, 2)), kind="stable")
    border = float(np.mean([border_share(grid) for grid in grids]))
    ordered = tuple(members[at] for at in typical)
    return MapCluster(target, ordered, mean, place, float(shares.mean()), low, high, border, groups, stability)


def interval(shares: Floats) -> tuple[float | None, float | None]:
    """The 95 % t interval of the mean of shares (n,), within 0 and 1; none of fewer than two."""
    n = len(shares)
    if n < 2:
        return None, None
    half = float(special.stdtrit(n - 1, 0.975)) * float(shares.std(ddof=1)) / n**0.5
    return max(0.0, float(shares.mean()) - half), min(1.0, float(shares.mean()) + half)


def words(cluster: MapCluster) -> str:
    """The place of a cluster's maps as one sentence."""
    shown = f"{cluster.share:.2f}" if cluster.low is None else f"{cluster.share:.2f} [{cluster.low:.2f}, {cluster.high:.2f}]"
    return (
        f"cluster {cluster.number} ({len(cluster.members)} of {cluster.target}): {shown} of the maps lies in one sixteenth, "
        f"the {cluster.where}"
    )
