"""Orderings of methods that papers report, checked on stored rows: a section of `docs/methods.md`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs import stored_rows
from xaicli.metric import Direction
from xaicli.registry import make_metric
from xaicli.results import stats
from xaicli.results.stats import Estimate

FEWEST = 100
"""Photos below which an ordering is not checked."""
INTRODUCTION = """Orderings that papers report, on other networks and photos, checked on the rows in `docs/results/` where
at least 100 photos have both methods. The difference is that of the first method less the second, paired by photo, with its 95 %
interval; it agrees where the whole interval lies on the published side."""


@dataclass(frozen=True)
class Ordering:
    """That a method is better than another by a metric, as `source` reports."""

    better: str
    worse: str
    metric: str
    source: str


BEE = "BEE: over path integrals with one baseline"
FOVEX, FEATURE = "FovEx, ViT-B/16 and ResNet-50", "Feature CAM: confidence is kept"
ORDERINGS = (
    Ordering("fovex", "grad-cam", "insertion", FOVEX),
    Ordering("grad-cam", "fovex", "deletion", FOVEX),
    Ordering("fovex", "rise", "insertion", FOVEX),
    Ordering("rise", "fovex", "deletion", FOVEX),
    Ordering("fovex", "grad-cam", "average-drop", FOVEX),
    Ordering("fovex", "grad-cam", "increase-in-confidence", FOVEX),
    Ordering("bee", "integrated-gradients", "insertion", BEE),
    Ordering("bee", "grad-cam", "insertion", BEE),
    Ordering("feature-cam", "grad-cam", "average-drop", FEATURE),
    Ordering("feature-cam", "grad-cam", "increase-in-confidence", FEATURE),
)


def section(results: Path) -> list[str]:
    """The lines of the section; none where no ordering can be checked."""
    lines = [line for path in stored_rows.files(results) for line in checked(path)]
    if not lines:
        return []
    head = ["| reported better | than | by | reported by | network | n | difference | here |", "|---" * 8 + "|"]
    return ["## Published orderings", "", INTRODUCTION, "", *head, *lines, ""]


def checked(path: Path) -> Iterator[str]:
    """A line for each ordering whose methods both have rows of enough photos in a file."""
    values = read(path)
    for ordering in ORDERINGS:
        one, other = values.get((ordering.better, ordering.metric), {}), values.get((ordering.worse, ordering.metric), {})
        shared = [image for image in one if image in other]
        if len(shared) < FEWEST:
            continue
        gap = stats.change([one[image] - other[image] for image in shared])
        higher = make_metric(ordering.metric).direction is Direction.HIGHER
        cells = [ordering.better, ordering.worse, ordering.metric, ordering.source, path.stem, str(gap.n)]
        yield f"| {' | '.join([*cells, shown(gap), verdict(gap, higher=higher)])} |"


def read(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Values by method, metric and photo; a method under any parameters that are its own."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for column in stored_rows.read(path).values():
        found.setdefault((column.method.split("@")[0], column.metric.split("@")[0]), {}).update(column.values)
    return found


def verdict(gap: Estimate, *, higher: bool) -> str:
    """Whether a difference agrees with the report that the first is better."""
    if gap.low is None or gap.high is None:
        return "–"
    low, high = (gap.low, gap.high) if higher else (-gap.high, -gap.low)
    return "agrees" if low > 0 else "the other way round" if high < 0 else "not told apart"


def shown(gap: Estimate) -> str:
    if gap.value is None or gap.low is None or gap.high is None:
        return "–"
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
