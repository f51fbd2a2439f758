"""What a study found: accuracy with and without the branch, and the stability of its attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xaicli.metric import Quantity, ValueKind
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.tabular import Tabular
from xaicli.training.map_overlap import Floats, iou, iou_as_published
from xaicli.training.study_arms import BRANCH, NONE, PLAIN, StudyArm

OTHER_PHOTO = "of another photo"
"""Beside a map's partner: the next photo's map, which says how alike any two maps are."""
MEASURES = {"iou": iou, "iou as the authors compute it": iou_as_published}


@dataclass(frozen=True, eq=False)
class StudiedNetwork:
    """One training: which held-out photos it decides rightly (photos,), its best epoch's accuracy, and its parameters."""

    arm: StudyArm
    right: NDArray[np.float64]
    best: float
    parameters: int

    @classmethod
    def of(cls, arm: StudyArm, record: Mapping[str, Any]) -> StudiedNetwork:
        return cls(arm, np.asarray(record["right"], dtype=np.float64), record["best"], record["parameters"])


@dataclass(frozen=True)
class Overlap:
    """How alike a method's maps are under two settings, by one measure: of one photo, and of two photos."""

    method: str
    settings: str
    measure: str
    same: Estimate
    others: Estimate


def overlaps_of(method: str, settings: str, first: Floats, second: Floats) -> list[Overlap]:
    """Both measures of the maps (N, H, W) of two trainings."""
    moved = np.roll(second, 1, axis=0)
    return [
        Overlap(method, settings, name, stats.mean(measure(first, second), SHARE), stats.mean(measure(first, moved), SHARE))
        for name, measure in MEASURES.items()
    ]


@dataclass(frozen=True, eq=False)
class Study(Tabular):
    """The result of `xaicli.study`: top-1 in percent, differences in points, overlaps from 0 to 1; 95 % intervals over photos.

    about: what all trainings share.
    """

    trained: tuple[StudiedNetwork, ...]
    stability: tuple[Sequence[Overlap], ...]
    about: Mapping[str, Any]
    columns: ClassVar[Sequence[str]] = ("part", "of", "value", "low", "high", "n", "note")

    def records(self) -> list[dict[str, Any]]:
        main = {kind: [one for one in self.trained if one.arm.kind == kind and not one.arm.overrides] for kind in KINDS}
        rows = [accuracy(kind, ones) for kind, ones in main.items()]
        rows += [gain(main[BRANCH], main[rival], rival) for rival in (NONE, PLAIN)]
        return rows + [row for each in self.stability for one in each for row in overlap_rows(one)]


KINDS = (BRANCH, NONE, PLAIN)
ACCURACY, DIFFERENCE = "top-1, %", "top-1 difference, points"
SHARE = Quantity(ValueKind.CONTINUOUS, 0.0, 1.0)


def over_seeds(trained: Sequence[StudiedNetwork]) -> NDArray[np.float64]:
    """The seeds, in percent, by which each photo is decided rightly: photos are the unit of the intervals."""
    return np.asarray(100.0 * np.mean([one.right for one in trained], axis=0))


def percent(trained: Sequence[StudiedNetwork]) -> Quantity:
    """What `over_seeds` gives: with one seed a photo is decided rightly or not."""
    return Quantity(ValueKind.BINARY if len(trained) == 1 else ValueKind.CONTINUOUS, 0.0, 100.0)


def accuracy(kind: str, trained: Sequence[StudiedNetwork]) -> dict[str, Any]:
    seeds = ", ".join(f"{100 * one.right.mean():.1f}" for one in trained)
    best = ", ".join(f"{100 * one.best:.1f}" for one in trained)
    note = f"by seed: {seeds}; best epoch: {best}; {trained[0].parameters:,} parameters"
    return row(ACCURACY, kind, stats.mean(over_seeds(trained), percent(trained)), note)


def gain(branch: Sequence[StudiedNetwork], rival: Sequence[StudiedNetwork], name: str) -> dict[str, Any]:
    by_seed = ", ".join(f"{100 * (one.right.mean() - two.right.mean()):+.1f}" for one, two in zip(branch, rival, strict=True))
    estimate = stats.difference(over_seeds(branch), over_seeds(rival), percent(branch))
    return row(DIFFERENCE, f"{BRANCH} less {name}", estimate, f"by seed: {by_seed}")


def overlap_rows(one: Overlap) -> list[dict[str, Any]]:
    return [
        row(one.measure, one.method, one.same, one.settings),
        row(one.measure, f"{one.method}, {OTHER_PHOTO}", one.others, one.settings),
    ]


def row(part: str, of: str, estimate: Estimate, note: str) -> dict[str, Any]:
    return {
        "part": part,
        "of": of,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "note": note,
    }
