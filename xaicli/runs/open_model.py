"""The classifier given to a public function: a loaded one, or a specification."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from xaicli.models.architecture import SMALL
from xaicli.models.catalogue import BUNDLED, DEFAULT
from xaicli.models.load import load_classifier, specification
from xaicli.models.with_frames import with_frames
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.progress import SILENT, Progress

Model = Classifier | str | Path | Callable[..., Classifier] | None
"""A loaded classifier, a specification, the path of a file, a function that loads one (called after
everything else was checked), or None for the default."""


@dataclass(frozen=True)
class NamedModel:
    """A specification with the options of `load_classifier`, which any process can open.

    opened: what opens it in this process, instead of `load_classifier` itself.
    """

    spec: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    opened: Callable[..., Classifier] | None = field(default=None, compare=False, repr=False)

    def __call__(self, **frames: int) -> Classifier:
        """Open it; frames: what a run says of the frames that it reads."""
        if self.opened is not None:
            return self.opened(**frames)
        return load_classifier(self.spec or DEFAULT, **{**self.options, **frames})


def open_model(
    model: Model, *, progress: Progress = SILENT, bars: bool = False, frames: Mapping[str, int] | None = None, **options: Any
) -> Classifier:
    """The classifier itself, what a function loads, or what a specification names; options: those of `load_classifier`.

    progress: gets one line that names the model; bars: whether downloads show a bar; frames: what a run says of the frames that
    are read, as options of `load_classifier`.
    """
    words: dict[str, Any] = dict(frames or {})
    if isinstance(model, Classifier):
        return with_frames(model, **words, notice=progress.say) if words else model
    if callable(model) and not isinstance(model, nn.Module):
        if words and not takes(model, words):
            return with_frames(model(), **words, notice=progress.say)
        return model(**words)
    classifier = load_classifier(specification(model or DEFAULT), progress=bars, notice=progress.say, **options, **words)
    progress.say(f"model {describe_model(classifier, '' if model else 'an ImageNet one: --model resnet50')}")
    if classifier.view.padding:
        progress.warn(f"{classifier.view.padding}; give --resize as large as the crop, or a smaller --crop")
    return classifier


def takes(function: Callable[..., Classifier], words: Mapping[str, int]) -> bool:
    """Whether a function that loads a classifier has parameters of these names."""
    try:
        inspect.signature(function).bind(**words)
    except (TypeError, ValueError):
        return False
    return True


EVERYDAY = 200
"""Classes of the networks that ship with the package."""


def describe_model(classifier: Classifier, others: str = "") -> str:
    """One line on a classifier; others: a remark on other models."""
    height, width = classifier.view.size
    size = f"{height} px" if height == width else f"{height} x {width} px"
    known = f"{outputs_of(classifier)}, {size}, {classifier.view.describe()}"
    # A network of that architecture with other classes is in training.
    if classifier.name in {entry.spec for entry in BUNDLED} and classifier.count == EVERYDAY:
        own = classifier.view == SMALL
        known = f"bundled, {classifier.count} everyday classes, {size}" + ("" if own else f", {classifier.view.describe()}")
    device = "" if classifier.device.type == "cpu" else f", on {classifier.device}"
    return f"{classifier.name} ({known}{device}{'; ' if others else ''}{others})"


def outputs_of(classifier: Classifier) -> str:
    """How many outputs there are, and what: "1000 classes", "14 labels", "1 value", "192 features", "a map of 21 classes",
    "boxes of 91 classes"."""
    if classifier.features:
        return f"{classifier.count} features"
    words = {Outputs.SIGMOID: ("label", "labels"), Outputs.VALUES: ("value", "values")}
    counted = f"{classifier.count} {words.get(classifier.outputs, ('class', 'classes'))[classifier.count != 1]}"
    if classifier.outputs is Outputs.BOXES:
        return f"boxes of {counted}"
    return f"a map of {counted}" if classifier.outputs is Outputs.REGION else counted
