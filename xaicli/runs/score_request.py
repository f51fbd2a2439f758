"""The request of `xai score` and `xai compare`, and the scoring run that is made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from xaicli.errors import UsageError
from xaicli.grammar import names_in
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.progress import SILENT, Progress
from xaicli.runs.controls import CONTROL_NAMES
from xaicli.runs.given_maps import given_maps
from xaicli.runs.open_model import Model
from xaicli.runs.photo_truth import truth_of
from xaicli.runs.request import RunRequest, list_methods, list_metrics
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.shards import shard
from xaicli.runs.similar_target import compared
from xaicli.runs.target_choice import choose_targets
from xaicli.suitability import unfit

METRICS = ("deletion,insertion",)
"""The metrics if none are named."""
ALL_CONTROLS = ",".join(CONTROL_NAMES)


@dataclass(frozen=True, kw_only=True)
class ScoreRequest(RunRequest):
    """The parameters that scoring and comparing share; `xaicli.score` says what each means."""

    metric: str | Metric | Sequence[str | Metric] | None = METRICS
    controls: str | Sequence[str] | bool = ALL_CONTROLS
    truth: str | Path | None = None
    truth_classes: str | Path | None = None
    maps: str | Path | None = None
    shard: str | None = None

    @cached_property
    def methods(self) -> list[Method]:
        """The methods that are named."""
        named = list_methods(self.method)
        if named and self.maps is not None:
            raise UsageError("--maps and --method are both given", hint="Maps from files need no method; leave one of them out.")
        return named

    @cached_property
    def metrics(self) -> list[Metric]:
        return list_metrics(METRICS if self.metric is None else self.metric)

    @cached_property
    def control_names(self) -> tuple[str, ...]:
        """The controls that are wanted; raises UsageError for an unknown one."""
        if isinstance(self.controls, bool):
            return CONTROL_NAMES if self.controls else ()
        named = self.controls or ()
        names = tuple(dict.fromkeys(names_in(named, "--controls") if isinstance(named, str) else named))
        for name in names:
            if name not in CONTROL_NAMES:
                hint = "For none of them: --no-controls." if name.lower() in ("none", "no", "off", "false") else ""
                raise UsageError(f'no control "{name}"', expected=", ".join(CONTROL_NAMES), hint=hint)
        return names

    def check(self) -> None:
        shard_of(self.shard)
        super().check()
        _ = self.metrics, self.control_names

    def run(self, model: Model, *, progress: Progress = SILENT, leave_out: bool = False) -> ScoreRun:
        """The run on one model. leave_out: leave out methods that cannot run on it (if others can), instead of raising
        UsageError."""
        self.check()
        classifier, target = compared(self.open(model, progress), self.target, progress)
        methods = self.methods_for(classifier, progress) if self.maps is None else []
        part, sources = shard_of(self.shard), self.sources_for(classifier)
        # Of the whole job, so that every shard of it has the same engine.
        classifier = expecting(classifier, self.metrics, len(sources), len(methods))
        run = ScoreRun(
            sources=shard(sources, *part) if part else sources,
            classifier=classifier,
            methods=fitting(methods, classifier, progress) if leave_out else methods,
            metrics=self.metrics,
            targets=choose_targets(target, classifier, sources),
            settings=self.settings,
            controls=self.control_names,
            truth=self.read_truth(classifier, progress),
            keep_going=self.keep_going,
            all_sources=sources,
            # The control `other` uses the map of a partner, so all photos of the job need one.
            given_maps=given_maps(Path(self.maps), sources) if self.maps is not None else (),
        )
        run.check()
        return run

    def read_truth(self, classifier: Classifier, progress: Progress) -> Truth | None:
        return None if self.truth is None else truth_of(self, classifier, self.truth, self.truth_classes, progress)


def expecting(classifier: Classifier, metrics: Sequence[Metric], photos: int, methods: int) -> Classifier:
    """The classifier, told how many passes the scores of a whole job take: the engine is chosen by that."""
    copies = sum(metric.passes(classifier.view.size) for metric in metrics) * photos
    return replace(classifier, expected_passes=copies * max(1, methods))


def fitting(methods: list[Method], classifier: Classifier, progress: Progress) -> list[Method]:
    """The methods that run on a classifier (all, if none does); reports which are left out."""
    fit = [method for method in methods if unfit(method, classifier) is None] or methods
    if left := ", ".join(method.label for method in methods if method not in fit):
        progress.say(f"not for {classifier.name}: {left}")
    return fit


def shard_of(text: str | None) -> tuple[int, int] | None:
    """`I/N` as numbers, 1 to N."""
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {text} is not a shard", expected="I/N with I from 1 to N, such as 3/8")
    return int(part), int(parts)
