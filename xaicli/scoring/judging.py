"""A metric as the judge of maps while a method makes them (`xaicli.judge`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xaicli.errors import UsageError
from xaicli.judge import Scoring
from xaicli.metric import Direction, Metric, ValueKind
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.params import as_json
from xaicli.scoring.case import Case
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.measuring import measure
from xaicli.scoring.photo import ScoredPhoto
from xaicli.sign import Sign
from xaicli.targets import TargetRule


@dataclass(frozen=True)
class MetricJudge:
    """A metric that judges maps one by one. others: all metrics there are, for the words of a refusal."""

    metric: Metric
    others: Callable[[], Iterable[Metric]]

    @property
    def label(self) -> str:
        return self.metric.label

    @property
    def content(self) -> dict[str, Any]:
        return dict(as_json(self.metric))

    @property
    def higher(self) -> bool:
        return self.metric.direction is Direction.HIGHER

    @property
    def binary(self) -> bool:
        return self.metric.kind is ValueKind.BINARY

    def passes(self, size: tuple[int, int]) -> float:
        return self.metric.passes(size)

    def require(self, method: str, sign: Sign, classifier: Classifier | None = None) -> None:
        reason = unsuited(self.metric, sign, classifier)
        if reason:
            suited = [metric.name for metric in self.others() if not unsuited(metric, sign, classifier)]
            raise UsageError(
                f"{method} cannot be fitted to {self.label}: {reason}", hint=f"Metrics that work: {', '.join(suited)}."
            )

    def of_photo(
        self, classifier: Classifier, logits: Tensor, photo: Tensor, target: TargetRule, sign: Sign, seed: int
    ) -> Scoring:
        # Known by its seed alone: a method does not know the photo's name.
        scored = ScoredPhoto(classifier, image="a photo", content=str(seed), frame=0, input=photo)

        def scores(maps: Tensor) -> list[float]:
            found = [float("nan")] * len(maps)
            fit = [at for at, values in enumerate(maps) if values.isfinite().all() and values.amin() < values.amax()]
            # Copies that maps of one explainer share run once, and these maps differ.
            cases = [
                Case(
                    scored=scored,
                    explainer=Explainer(f"map {at + 1}", {}, sign, outputs=classifier.outputs.value),
                    maps=maps[at : at + 1].float(),
                    classes=(target.index,),
                    against=(target.against,),
                    clean_logits=logits if self.metric.needs else None,
                )
                for at in fit
            ]
            for at, own in zip(fit, measure(scored, [(self.metric, case) for case in cases]), strict=True):
                found[at] = float(own.values[0])
            return found

        return scores


def unsuited(metric: Metric, sign: Sign, classifier: Classifier | None = None) -> str:
    """Why single maps of that sign, on that classifier, cannot be fitted to a metric, in words; empty if they can."""
    if metric.needs_explain:
        return "it compares several maps"
    if metric.needs_truth:
        return "it needs ground truth"
    if metric.direction is Direction.NEITHER:
        return "neither high nor low values of it are better"
    if sign not in metric.signs:
        return f"it needs {' or '.join(sorted(kind.value for kind in metric.signs))} maps, and these are {sign.value}"
    if classifier is None:
        return ""
    if metric.needs_probability and classifier.outputs is Outputs.VALUES:
        return f"it needs probabilities, and the outputs of {classifier.name} are values"
    if metric.needs_class_map and classifier.pixels is None:
        return f"it needs a class map, and {classifier.name} gives one number a class"
    missing = metric.needs & ~classifier.provides
    return f"it needs {missing.words()}, and {classifier.name} has none" if missing else ""
