"""What scoring is given: photos, the maps of methods, and the circumstances of the run."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xaicli.images.truth import PhotoTruth
from xaicli.method import Maps, Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.params import as_json
from xaicli.passes.seeds import photo_seed
from xaicli.rows import Recipe, ratios_of
from xaicli.scoring.case import Explain
from xaicli.sign import Sign


@dataclass(frozen=True, eq=False)
class Scene:
    """P photos that are scored together: paths as given, SHA-256 of their content, frames, preprocessed inputs (P, 3, H, W) on
    the classifier's device; truth: what is marked in each, None for a photo that nobody annotated."""

    images: tuple[str, ...]
    contents: tuple[str, ...]
    frames: tuple[int, ...]
    inputs: Tensor
    truth: Sequence[PhotoTruth | None] | None = None

    def seeds(self, run_seed: int, name: str) -> tuple[int, ...]:
        """One seed a photo."""
        pairs = zip(self.contents, self.frames, strict=True)
        return tuple(photo_seed(run_seed, content, frame, name) for content, frame in pairs)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of all photos of a scene by one method.

    label, content: as in `rows.Recipe`; maps: (P, T, h, w) and their targets; name: the method's, under which its seeds are
    drawn; explain: its `attribute`, None where the maps came from elsewhere.
    """

    label: str
    content: Mapping[str, Any]
    sign: Sign
    maps: Maps
    name: str = ""
    passes: str = ""
    control: bool = False
    explain: Explain | None = None
    stochastic: bool = False

    @classmethod
    def of(cls, method: Method, maps: Maps, classifier: Classifier, *, control: bool = False) -> Explanation:
        passes = str(method.cost(classifier))
        return cls(
            label=method.label,
            content=as_json(method),
            sign=method.sign,
            maps=maps,
            name=method.name,
            passes=passes,
            control=control,
            explain=method.attribute,
            stochastic=method.stochastic,
        )

    def recipe(self, metric: Metric, run: Circumstances) -> Recipe:
        """How the scores of these maps under a metric are made."""
        return Recipe(
            method=self.label,
            metric=metric.label,
            method_content=self.content,
            metric_content=as_json(metric),
            target_rule=run.target_rule,
            precision=run.precision,
            direction=metric.direction.value,
            control=self.control,
            passes=self.passes,
            unit=metric.unit,
            ratios=ratios_of(metric),
        )


@dataclass(frozen=True)
class Circumstances:
    """What rows record of a run, and how it is done.

    target_rule: as given (`top1`); done: keys (definition, subject, seed) of rows that are not wanted again; batch_size: copies a
    pass; explain_batch: photos a pass where a metric lets the method explain again.
    """

    seed: int = 0
    target_rule: str = "top1"
    precision: str = "fp32"
    done: Container[tuple[str, str, int]] = frozenset()
    batch_size: int | None = None
    explain_batch: int = 8
