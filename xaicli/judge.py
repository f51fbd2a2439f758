"""A metric as a method sees it that is fitted to one: it scores maps of a photo while they are made.

Methods know no metrics. One that is fitted to a metric has its name as the parameter `metric`, and asks for the judge of that
name; its stamp then holds the metric too, as `params.as_json` gives it, so that a score by the same metric can be marked.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from xaicli import builtin

if TYPE_CHECKING:
    from torch import Tensor

    from xaicli.network.classifier import Classifier
    from xaicli.sign import Sign
    from xaicli.targets import TargetRule

Scoring: TypeAlias = "Callable[[Tensor], list[float]]"
"""From maps (N, h, w) of a photo to their scores; NaN for a map that has none: constant, not finite, or undefined."""


class Judge(Protocol):
    """A metric that scores one map at a time."""

    @property
    def label(self) -> str:
        """The metric's specification in canonical form."""
        ...

    @property
    def content(self) -> dict[str, Any]:
        """The metric as `params.as_json` gives it."""
        ...

    @property
    def higher(self) -> bool:
        """Whether higher scores are better."""
        ...

    @property
    def binary(self) -> bool:
        """Whether a map passes or fails, with nothing in between."""
        ...

    def passes(self, size: tuple[int, int]) -> float:
        """Forward passes per map, for an input of that height and width."""
        ...

    def require(self, method: str, sign: Sign, classifier: Classifier | None = None) -> None:
        """Raise UsageError, which names metrics that work, if maps of that sign, on that classifier, cannot be fitted to it."""
        ...

    def of_photo(
        self, classifier: Classifier, logits: Tensor, photo: Tensor, target: TargetRule, sign: Sign, seed: int
    ) -> Scoring:
        """Scores of maps of one photo (3, H, W), whose logits are (1, C), for one target. All maps that are given together run in
        one queue; equal pixels go in an order drawn from the seed."""
        ...


class Judges(Protocol):
    """The function of the module `xaicli.builtin.JUDGES`."""

    def judge(self, metric: str) -> Judge: ...


def judge_of(metric: str) -> Judge:
    """The judge of a metric's specification (`insertion`, `deletion@steps=14`); raises UsageError if there is no such metric."""
    return cast(Judges, importlib.import_module(builtin.JUDGES)).judge(metric)
