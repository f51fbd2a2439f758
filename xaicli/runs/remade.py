"""What becomes of a result when it is made again from its record, and where its photo and its model are."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xaicli.errors import XaiError
from xaicli.images.find import find
from xaicli.images.source import Source, content_hash
from xaicli.images.view import View
from xaicli.models.load import load_classifier, untrusted
from xaicli.network.classifier import Classifier
from xaicli.passes.device import resolve_device
from xaicli.progress import Progress
from xaicli.runs.open_model import Model, open_model
from xaicli.untrusted import is_file, status_of

BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")
"""A byte that is no text, as `readable` writes it."""

Result = Literal["same bytes", "same within tolerance", "differs", "cannot be made"]
RESULTS: tuple[Result, ...] = ("differs", "cannot be made", "same within tolerance", "same bytes")
"""The worst first."""


@dataclass(frozen=True)
class Remade:
    """One map or score that was to be made again.

    name: its record; image, method, target, metric: of what; metric is empty for a map; why: what differs, or is missing; off: by
    how much, where it is the same within tolerance: a share of the map's range, or the difference of a score.
    """

    name: str
    image: str
    method: str
    target: str
    metric: str
    result: Result
    why: str = ""
    off: float = 0.0

    def record(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class CannotBeMade(Exception):
    """Why a result cannot be made again, in words."""


@dataclass
class PhotosAtHand:
    """Photos by what records say of them: by path first, then by content among the folders that the user named."""

    folders: Sequence[str]
    by_content: dict[str, Path] | None = field(default=None, repr=False)

    def source(self, image: str, content: str, frame: int) -> Source:
        """The photo of a record, with the path that the record gives; raises CannotBeMade if it is missing or has changed."""
        candidate = self.at_path(image, frame)
        held = content_hash(candidate) if candidate is not None else None
        if candidate is not None and held == content:
            return candidate
        found = self.known().get(content)
        if found is not None:
            return Source.of_file(found, frame, image)
        if held is not None:
            raise CannotBeMade(f"the photo {image} has changed: {content[:8]} in the record, {held[:8]} here")
        raise CannotBeMade(f"the photo {image} ({content[:8]}) is not here; name its folder: --photos DIR")

    def at_path(self, image: str, frame: int) -> Source | None:
        """The photo at the path of a record, from the folder in which the command runs; a path that leads out of it is the
        record's word alone and is not followed."""
        if image.startswith("sample:"):
            try:
                return find([image], frame=frame)[0]
            except XaiError:
                return None
        place = named_as(image)
        inside = not place.is_absolute() and ".." not in place.parts
        return Source.of_file(place, frame, image) if inside and is_file(place) else None

    def known(self) -> dict[str, Path]:
        """The files in the user's folders by content, read once."""
        if self.by_content is None:
            sources = find(list(self.folders), recursive=True) if self.folders else []
            named = ((content_hash(source), source.file) for source in sources)
            self.by_content = {content: file for content, file in named if content is not None and file is not None}
        return self.by_content


def named_as(image: str) -> Path:
    """The path that a record writes as `image`: a byte of its name that is no text stands there as `\\xff`."""
    place = Path(image)
    return place if is_file(place) else Path(os.fsdecode(BYTE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(image))))


@dataclass
class ModelsAtHand:
    """Models by fingerprint: the one that the user names, or else those that records name. trust: whether code that a record
    names may run, and its weights be downloaded."""

    given: Model
    trust: bool
    options: dict[str, Any]
    progress: Progress
    loaded: dict[tuple[str, str, str], Classifier | CannotBeMade] = field(default_factory=dict, repr=False)
    opened: dict[str, Classifier] = field(default_factory=dict, repr=False)
    """What the user named, by precision, with the view of its weights."""

    def check(self, precision: str) -> None:
        """Raise what is wrong with the user's own words, before any record is blamed for it; precision: that of a record."""
        resolve_device(self.options.get("device", "auto"))
        if self.given is not None:
            self.opened[precision] = self.open("", precision, {})
        elif (weights := self.options.get("weights")) is not None:
            status_of(Path(weights), "a file of weights (.safetensors, .pth)")

    def classifier(self, name: str, fingerprint: str, precision: str, view: View | None = None) -> Classifier:
        """The model of a record; raises CannotBeMade if it cannot be loaded, or if its weights or its view have changed."""
        key = name, fingerprint, precision
        if key not in self.loaded:
            try:
                self.loaded[key] = self.load(name, fingerprint, precision, view)
            except CannotBeMade as error:
                self.loaded[key] = error
        found = self.loaded[key]
        if isinstance(found, CannotBeMade):
            raise found
        return found

    def load(self, name: str, fingerprint: str, precision: str, view: View | None) -> Classifier:
        try:
            loaded = self.open(name, precision, {})
            if loaded.fingerprint != fingerprint and view is not None and loaded.view != view:
                loaded = self.open(name, precision, overrides(view)) if not isinstance(self.given, Classifier) else loaded
        except XaiError as error:
            hint = "" if self.given is not None else f"; {way_to_model(name, refused='--trust' in error.hint)}"
            raise CannotBeMade(f"the model {name}: {error.found}{hint}") from error
        if loaded.fingerprint != fingerprint and self.given is not None and loaded.name != name:
            raise CannotBeMade(
                f"it is a result of the model {name} ({fingerprint[:8]}), not of {loaded.name} ({loaded.fingerprint[:8]})"
            )
        if loaded.fingerprint != fingerprint:
            raise CannotBeMade(f"the model {name} has changed: {fingerprint[:8]} in the record, {loaded.fingerprint[:8]} here")
        return loaded

    def open(self, name: str, precision: str, view: dict[str, Any]) -> Classifier:
        options = {"precision": precision, **self.options, **view}
        if not view and precision in self.opened:
            return self.opened[precision]
        if self.given is not None:
            return open_model(self.given, progress=self.progress, **options)
        with untrusted(not self.trust):
            return load_classifier(name, **options)


def way_to_model(name: str, *, refused: bool) -> str:
    """What to type where a record's model cannot be loaded; refused: because nobody said that it may run or be downloaded.

    Records name files and folders without their place, so that trust does not find one that is elsewhere.
    """
    if name.startswith("hf:") and "/" not in name:
        return "if that is a folder, name it with its path: --model hf:FOLDER"
    return "name it: --model SPEC, or trust the record: --trust" if refused else "name it with its path: --model SPEC"


def overrides(view: View) -> dict[str, Any]:
    """A view as options of loading a model."""
    given = {
        "resize": view.resize,
        "crop": view.crop,
        "interpolation": view.interpolation,
        "mean": view.mean,
        "std": view.std,
        "window": view.window,
        "input_scale": view.scale,
        "input_order": view.order,
        "fast_decode": view.fast_decode,
    }
    return {name: value for name, value in given.items() if value is not None}
