"""What training leaves behind: safetensors with metadata, read back only for the classifier it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xaicli.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by name (float32) and metadata: method, parameters, layers, classifier, fingerprint, classes, data, seed, version."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def state(self, module: str) -> dict[str, Tensor]:
        """The state of one of the task's modules."""
        prefix = f"{module}."
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of ours; raises InputError where the file is none."""
    raise SystemError("written next")


def checkpoint_for(method: str, classifier: Classifier, given: str = "auto") -> Checkpoint:
    """The checkpoint of a method for a classifier: the file that is named, or under `auto` the one that is installed.

    Raises InputError where there is none, or where it was made for another method or classifier, naming what differs. Cached by
    path, size and time of change: calling it for each batch reads the file once.
    """
    raise SystemError("written next")
