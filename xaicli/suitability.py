"""Whether a method or a metric suits a classifier; those that do are named where one does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from xaicli.errors import UsageError, XaiError
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.needs import Needs, of_photos
from xaicli.params import Spec
from xaicli.registry import CONTROLS, METHODS, METRICS, Kind, definition_class, entries, make

if TYPE_CHECKING:
    from xaicli.network.classifier import Classifier


def require_fit(method: Method, classifier: Classifier) -> None:
    """Raise XaiError, before any work, if a method cannot run on a classifier."""
    if Needs.FRAMES in classifier.provides and not method.of_frames:
        names = ", ".join(of_sequences())
        found = f"{method.name} explains photos, and {classifier.name} reads {classifier.view.describe_frames()}"
        raise UsageError(found, hint=f"Methods for sequences: {names}.")
    missing = method.needs & ~classifier.provides & ~Needs.CHECKPOINT
    if missing == Needs.FEATURES and classifier.cuts is not None:
        raise UsageError(
            f"{method.name} reads features, and {classifier.name} is run as a whole",
            hint=f"Name a tensor at which it is cut: --model {classifier.name}@layer=auto (xai list layers shows them).",
        )
    refuse_unmet(method, classifier.provides, classifier.name, lambda other: unfit(other, classifier) is None)
    method.require(classifier)


def require_scores(metric: Metric, classifier: Classifier) -> None:
    """Raise UsageError, before any work, if a metric scores maps of photos alone and the classifier reads sequences."""
    if Needs.FRAMES in classifier.provides and not metric.of_frames:
        found = f"{metric.label} scores maps of photos, and {classifier.name} reads {classifier.view.describe_frames()}"
        raise UsageError(found, hint=f"Metrics for sequences: {', '.join(of_sequences(METRICS))}.")


def of_sequences(kind: Kind = METHODS) -> list[str]:
    """The names of methods that explain sequences of frames, or of metrics that score their maps; without controls."""
    names = []
    for entry in entries(kind):
        # A broken one is not suggested.
        with contextlib.suppress(XaiError):
            cls = definition_class(kind, entry.name)
            names += [entry.name] if getattr(cls, "of_frames", False) and entry.name not in CONTROLS else []
    return names


def unfit(method: Method, classifier: Classifier) -> XaiError | None:
    """Why a method cannot run on a classifier; None if it can."""
    try:
        require_fit(method, classifier)
    except XaiError as error:
        return error
    return None


def refuse_unmet(method: Method, provides: Needs, model: str, fits: Callable[[Method], bool] = lambda other: True) -> None:
    """Raise UsageError, which lists methods that could run, if a classifier lacks what a method needs; fits: whether another
    method, whose needs it meets, accepts it.

    A trained checkpoint is not the classifier's: a method finds its own (`Method.require`). Methods with rules for operations are
    listed too, although only a pass shows whether they have a rule for each operation of this network.
    """
    missing = method.needs & ~provides & ~Needs.CHECKPOINT
    if not missing:
        return
    if Needs.FRAMES in missing:
        raise of_photos(method.name, model)
    met = []
    for entry in entries(METHODS):
        # A broken method is not suggested.
        with contextlib.suppress(XaiError):
            other = make(METHODS, Spec(entry.name))
            if not isinstance(other, Method) or other.needs & ~provides or entry.name in CONTROLS or entry.fault:
                continue
            if fits(other):
                met.append(entry.name)
    hint = f"Methods whose needs it meets: {', '.join(met)}." if met else ""
    raise UsageError(f"{method.name} needs {missing.words()}, but {model} has none", hint=hint)
