"""The explanations that are scored: maps of a photo, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from xaicli.method import Maps, Method, content_on
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.params import as_json
from xaicli.rows import Recipe, recorded_of
from xaicli.sign import Sign
from xaicli.targets import TargetRule, Targets

Attribute: TypeAlias = Callable[[Classifier, Tensor, Targets, Tensor], Maps]
"""`Method.attribute`, or a function like it."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """Where maps come from: a method, a control, or files that another program wrote.

    label, content: as in `rows.Recipe`; target_rule: as given (`top1`); name: the method's, from which its seeds are derived;
    passes: its cost in words; attribute: makes the maps again, None if that is impossible; outputs: the kind of
    the model's.
    """

    label: str
    content: Mapping[str, Any]
    sign: Sign
    target_rule: str = "top1"
    precision: str = "fp32"
    name: str = ""
    passes: str = ""
    control: bool = False
    attribute: Attribute | None = None
    stochastic: bool = False
    outputs: str = ""

    @classmethod
    def of(cls, method: Method, classifier: Classifier, target_rule: str, precision: str, *, control: bool = False) -> Explainer:
        return cls(
            label=method.label,
            content=content_on(method, classifier),
            sign=method.sign,
            target_rule=target_rule,
            precision=precision,
            name=method.name,
            passes=str(method.cost(classifier)),
            control=control,
            attribute=method.attribute,
            stochastic=method.stochastic,
            outputs=classifier.outputs.value,
        )

    def suits(self, metric: Metric) -> bool:
        """Whether a metric can read these maps."""
        return self.sign in metric.signs and not (metric.needs_explain and self.attribute is None)

    def recipe(self, metric: Metric) -> Recipe:
        """The recipe of the scores of these maps under a metric; the curve of a value is not that of a probability."""
        of_values = {"outputs": self.outputs} if metric.is_of_value(self.outputs) else {}
        return Recipe(
            method=self.label,
            metric=metric.label,
            method_content=self.content,
            metric_content=as_json(metric) | of_values,
            target_rule=self.target_rule,
            precision=self.precision,
            control=self.control,
            passes=self.passes,
            **recorded_of(metric, self.outputs),
        )


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps (T, h, w) of one photo by one explainer, and the target of each.

    partner: for the control `other`, the SHA-256 of the photo to which these maps belong, and its frame if that is not the first.
    """

    explainer: Explainer
    values: Tensor
    targets: tuple[TargetRule, ...]
    partner: str = ""

    @classmethod
    def of(cls, explainer: Explainer, maps: Maps) -> Explanation:
        """From the maps of a batch of one."""
        return cls(explainer, maps.values[0].detach(), tuple(maps.targets.rules(0)))
