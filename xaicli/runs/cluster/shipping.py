"""What a worker needs beside photos: the model and its files, the methods and the settings, in bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import cloudpickle

from xaicli.errors import InputError, RunError, UsageError, described
from xaicli.named_files import files_named
from xaicli.network.classifier import Classifier
from xaicli.runs.open_model import Model, NamedModel
from xaicli.stamps import sha256_file
from xaicli.untrusted import is_file, is_folder, read, size_of

LARGEST_FILE = 1 << 31
"""Bytes of a model's file that is sent; a larger one must lie where every worker finds it."""


@dataclass(frozen=True)
class ShippedFile:
    """A file that a model is made of: its name on the command line, its hash, and its bytes, None where it is too large."""

    path: str
    digest: str
    content: bytes | None = field(repr=False)

    @classmethod
    def of(cls, path: Path) -> ShippedFile:
        content = read(path, "a file of the model", LARGEST_FILE) if size_of(path) <= LARGEST_FILE else None
        return cls(str(path), sha256_file(path), content)

    def place(self, folder: Path) -> str:
        """Where the file lies on this machine: at its own path if it is the same there, else written into `folder`."""
        own = Path(os.path.abspath(self.path))
        if is_file(own) and sha256_file(own) == self.digest:
            return str(own)
        if self.content is None:
            raise InputError(
                f"{self.path} is not on {os.uname().nodename}, and too large to be sent",
                expected="a file that every worker of the cluster finds at that path",
            )
        there = folder / self.digest[:16] / own.name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(self.content)
        return str(there)


@dataclass(frozen=True)
class ShippedModel:
    """A model on its way to workers.

    named: its specification, opened there; made: a loaded classifier, as bytes; files: those that the specification names;
    fingerprint: the driver's, which the workers' must equal; folder: the driver's current one;
    batch_size: inputs per pass; expected_passes: of the whole run.
    """

    named: NamedModel | None
    made: bytes | None
    files: tuple[ShippedFile, ...]
    fingerprint: str
    folder: str
    batch_size: int | None
    expected_passes: float

    @classmethod
    def of(cls, model: Model, classifier: Classifier, precision: str) -> ShippedModel:
        """Raises UsageError for a loaded classifier that cannot become bytes."""
        if model is None or isinstance(model, str):
            model = NamedModel(model, {"precision": precision})
        named = dataclasses.replace(model, opened=None) if isinstance(model, NamedModel) else None
        made = None if named is not None else as_bytes(classifier, "a loaded classifier")
        files = () if named is None else tuple(map(ShippedFile.of, files_named({"model": named.spec, "options": named.options})))
        return cls(named, made, files, classifier.fingerprint, os.getcwd(), classifier.batch_size, classifier.expected_passes)

    def open(self) -> Classifier:
        """The classifier on this machine; raises XaiError."""
        if self.named is None:
            assert self.made is not None
            return cloudpickle.loads(self.made)  # type: ignore[no-any-return]  # what the driver made, on its own cluster
        with tempfile.TemporaryDirectory(prefix="xai-model-") as folder:
            places = {file.path: file.place(Path(folder)) for file in self.files}
            spec = None if self.named.spec is None else moved(self.named.spec, places)
            options = {name: moved(value, places) for name, value in self.named.options.items()}
            classifier = NamedModel(spec, options)()
        return dataclasses.replace(classifier, batch_size=self.batch_size, expected_passes=self.expected_passes)

    def require_same(self, classifier: Classifier) -> None:
        """Raise RunError if the model here is another than the driver's."""
        if classifier.fingerprint != self.fingerprint:
            raise RunError(
                f"the model is another on {os.uname().nodename}: {classifier.fingerprint} there, {self.fingerprint} here",
                expected="the same files and versions of packages on every node",
            )


def moved(value: Any, places: Mapping[str, str]) -> Any:
    """A text, or texts in a tuple, with the paths of files replaced."""
    if isinstance(value, tuple):
        return tuple(moved(part, places) for part in value)
    if isinstance(value, Path):
        return moved(str(value), places)
    if not isinstance(value, str) or not places:
        return value
    longest = sorted(places, key=len, reverse=True)
    parts = "|".join(map(re.escape, longest))
    return re.sub(rf"(?<![^:,@=+])(?:{parts})(?![^:,@=+])", lambda found: places[found[0]], value)


def as_bytes(value: object, what: str) -> bytes:
    """A value with the code of the user's own files in it; raises UsageError if it cannot become bytes."""
    with by_value():
        try:
            return cloudpickle.dumps(value)  # type: ignore[no-any-return]
        # What cannot be pickled may raise anything.
        except Exception as error:
            raise UsageError(
                f"{what} cannot be sent to workers ({described(error)})",
                expected="a specification, such as net.py:make, or what Python can pickle",
            ) from error


@contextlib.contextmanager
def by_value() -> Iterator[None]:
    """Modules of files that a user named, which no worker can import, travel with their code."""
    own = [module for name, module in list(sys.modules.items()) if name.startswith("xaicli_file_")]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


@contextlib.contextmanager
def in_folder_of(folder: str) -> Iterator[None]:
    """Work in the driver's current folder where this machine has it, since paths are relative to it."""
    before = os.getcwd()
    if is_folder(folder):
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
