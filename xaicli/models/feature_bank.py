"""Memory banks: features of labelled photos, in a file.

A bank is one safetensors file: `features` (M, D) float32, rows of length one; `labels` (M,) int64; and in its metadata the class
names and the fingerprint of the network that made the features, without which they mean nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from xaicli.errors import InputError
from xaicli.files import write_atomic
from xaicli.untrusted import file_state
from xaicli.words import count

FORMAT = "xaicli-bank-1"
STAMP_LENGTH = 16


@dataclass(frozen=True, eq=False)
class Bank:
    """Features (M, D), rows of length one, and labels (M,) of M photos; classes: names by label; model, fingerprint: the network
    that gave the features; photos: a stamp of the photos and labels."""

    features: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    model: str
    fingerprint: str
    photos: str = ""

    @property
    def content(self) -> str:
        """16 hex digits over features and labels."""
        hasher = hashlib.sha256(self.features.numpy().tobytes())
        hasher.update(self.labels.numpy().tobytes())
        return hasher.hexdigest()[:STAMP_LENGTH]

    def save(self, path: Path) -> None:
        """Write the bank, whole or not at all."""
        record = {
            "classes": list(self.classes),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "photos": self.photos,
            "content": self.content,
        }
        # A single entry: several would be written in no fixed order, and the same bank must have the same bytes.
        metadata = {FORMAT: json.dumps(record, sort_keys=True)}
        tensors = {"features": self.features.contiguous(), "labels": self.labels.contiguous()}
        content = safetensors.torch.save(tensors, metadata)
        write_atomic(path, lambda file: file.write(content))

    def require(self, fingerprint: str, model: str, width: int, path: str) -> None:
        """Raise InputError unless the features were made by that network, `width` per photo."""
        if self.fingerprint != fingerprint or self.features.shape[1] != width:
            raise InputError(
                f"{path} holds features of {self.model} ({self.fingerprint}), but the model is {model} ({fingerprint})",
                expected="a bank of the same network, weights and view",
                hint="Make one: xai bank FOLDER --model SPEC -o FILE.",
            )


def read_bank(path: str | Path) -> Bank:
    """The bank in a file, which is read again only when it changes; raises InputError if the file is not a bank."""
    path = expanded(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"there is no bank {path}", hint=f"Make one: xai bank FOLDER --model SPEC -o {path}.") from error
    return load(path, file_state(status))


@functools.lru_cache(maxsize=2)
def load(path: Path, state: tuple[int, ...]) -> Bank:
    metadata = read_metadata(path)
    tensors = safetensors.torch.load_file(path)
    features, labels = tensors.get("features"), tensors.get("labels")
    if features is None or labels is None or features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise InputError(f"{path} is no bank", expected="features (photos, dimensions) and a label of each")
    classes = tuple(metadata["classes"])
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise InputError(f"{path} is damaged: it has {count(len(classes), 'class', 'classes')}, and a label beyond them")
    return Bank(features.float(), labels, classes, metadata["model"], metadata["fingerprint"], metadata["photos"])


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a bank's file, without its features; raises InputError if it is not a bank."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {})[FORMAT])
        return {name: record[name] for name in ("classes", "model", "fingerprint", "photos", "content")}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a bank: {error}", expected="a file written by xai bank") from error
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no bank", expected=f"a file written by xai bank ({FORMAT})") from error


def expanded(path: str | Path) -> Path:
    """The path with `~` resolved, if there is such a user."""
    return Path(os.path.expanduser(path))


def identity(path: str) -> str:
    """The identity of a bank in any folder: the file's name, and a stamp of its content if it can be read."""
    name = Path(path).name
    try:
        return f"{name} {read_metadata(expanded(path))['content']}"
    except InputError:
        return name
