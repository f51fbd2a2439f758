"""The request of a run over photos: which photos, methods and target, and how. `xaicli.explain` explains each parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from xaicli.errors import UsageError
from xaicli.images.decode_limits import SECONDS
from xaicli.images.sequence import frames_in_all
from xaicli.images.source import Source
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.network.classifier import Classifier
from xaicli.progress import Progress
from xaicli.registry import make_methods, make_metrics
from xaicli.runs.default_method import default_method
from xaicli.runs.find_photos import FoundPhotos, Photos, find_photos
from xaicli.runs.open_model import Model, open_model
from xaicli.runs.sequence_sources import as_sequences
from xaicli.runs.settings import Settings, colour

ALL = "all"
"""As many frames as the sequences hold."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The parameters that explaining, scoring and comparing share. output: where results go; pictures in that folder are not
    explained."""

    images: Photos
    method: str | Method | Sequence[str | Method] | None = None
    target: str | int = "top1"
    seed: int = 0
    recursive: bool = False
    null: bool = False
    limit: int | None = None
    frame: int = 0
    frames: int | str | None = None
    frame_step: int | None = None
    background: str | tuple[int, int, int] = "white"
    decode_timeout: float = SECONDS
    output: str | Path | None = None
    keep_going: bool = False
    batch_size: int | None = None
    precision: str = "auto"
    command: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The request in the parameters of a public function, which have the names of the fields; other parameters are
        ignored."""
        return cls(**{field.name: parameters[field.name] for field in dataclasses.fields(cls) if field.name in parameters})

    @cached_property
    def photos(self) -> FoundPhotos:
        """The photos of the whole job, and the errors of those that were not found."""
        return find_photos(
            self.images,
            recursive=self.recursive,
            null=self.null,
            limit=self.limit if self.frames is None else None,
            frame=self.frame,
            videos=self.frames is not None,
            exclude=self.output,
            keep_going=self.keep_going,
        )

    @cached_property
    def methods(self) -> list[Method]:
        """The methods that are named."""
        return list_methods(self.method)

    def check(self) -> None:
        """Raise XaiError for errors in the parameters alone, before a model is loaded."""
        _ = self.photos, self.methods

    @property
    def settings(self) -> Settings:
        return Settings(
            seed=self.seed,
            precision=self.precision,
            batch_size=self.batch_size,
            background=colour(self.background),
            decode_timeout=self.decode_timeout,
            command=self.command,
        )

    def open(self, model: Model, progress: Progress) -> Classifier:
        """The classifier, with the requested batch size."""
        classifier = open_model(model, precision=self.precision, progress=progress, frames=self.words_of_frames)
        return dataclasses.replace(classifier, batch_size=self.batch_size) if self.batch_size else classifier

    @property
    def words_of_frames(self) -> dict[str, int]:
        """What the request says of the frames that the network reads, as options of `load_classifier`."""
        step = {} if self.frame_step is None else {"frame_step": self.frame_step}
        if self.frames is None:
            return step
        if isinstance(self.frames, int):
            return {"frames": self.frames, **step}
        if self.frames != ALL:
            raise UsageError(f"frames {self.frames!r:.30}", expected=f"a whole number, or {ALL}")
        return {"frames": frames_in_all(as_sequences(self.photos.sources), self.frame, self.frame_step or 1), **step}

    def sources_for(self, classifier: Classifier) -> list[Source]:
        """The photos, or the sequences for a classifier that reads frames."""
        sources = self.photos.sources
        return as_sequences(sources, self.frame)[: self.limit] if classifier.view.frames else sources

    def methods_for(self, classifier: Classifier, progress: Progress) -> list[Method]:
        """The named methods; without any, the default for this classifier, which is then reported."""
        if self.methods:
            return self.methods
        default = default_method(classifier)
        (method,) = make_methods([default.name])
        progress.say(f"method {method.label}: {default.why}; others: --method, xai list methods")
        return [method]


def no_methods() -> UsageError:
    return UsageError("no methods are named", expected="--method A,B", hint="xai list methods shows them.")


def list_methods(method: str | Method | Sequence[str | Method] | None) -> list[Method]:
    """Methods as they are, those that specifications name, and classes of them with their defaults; none for None, which leaves
    the choice to the run. Raises UsageError for an empty list."""
    if method is None:
        return []
    named = [method] if isinstance(method, str | Method | type) else list(method)
    if not named:
        raise no_methods()
    made = (one() if isinstance(one, type) else one for one in named)
    return [each for one in made for each in ([one] if isinstance(one, Method) else make_methods([one]))]


def list_metrics(metric: str | Metric | Sequence[str | Metric]) -> list[Metric]:
    """Metrics as they are, those that specifications name, and classes of them with their defaults. Raises UsageError for an
    empty list."""
    named = [metric] if isinstance(metric, str | Metric | type) else list(metric)
    if not named:
        raise UsageError("no metrics are named", expected="--metric A,B", hint="xai list metrics shows them.")
    made = (one() if isinstance(one, type) else one for one in named)
    return [each for one in made for each in ([one] if isinstance(one, Metric) else make_metrics([one]))]
