"""The request for a training run, and what is refused before any data is read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.errors import UsageError
from xaicli.files import require_writable
from xaicli.models.checkpoint import ENDING, checkpoints_folder, is_checkpoint, read_metadata
from xaicli.named_files import files_named
from xaicli.training.curve import curve_path
from xaicli.training.snapshot import AGAIN, snapshot_path, what_differs
from xaicli.untrusted import is_file


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What is to be trained, on which photos, and how.

    model: a specification; model_options: further arguments of `load_classifier`; parameters: of training, as typed; overrides:
    entries of the schedule; held: how many photos to hold out if `val` is None, None for one in fifty; output: None for the
    folder in which methods find checkpoints; half: tensors in float16; pretrained: start from the model's weights; resume: None
    continues from a snapshot if there is one, True demands one, False starts over; replacing and again: what a user is told to do
    about a checkpoint, and about a snapshot, of another run.
    """

    method: str
    data: str
    model: str
    output: Path | None = None
    val: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    model_options: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    held: int | None = None
    seed: int = 0
    bf16: bool = False
    half: bool = False
    pretrained: bool = False
    resume: bool | None = None
    overwrite: bool = False
    keep_going: bool = False
    save_every: float = 300.0
    replacing: str = "Choose another name, or write --overwrite."
    again: str = AGAIN

    @property
    def precision(self) -> str:
        """How passes are computed, as records name it."""
        return "bf16" if self.bf16 else "fp32"


def is_complete(request: TrainRequest, output: Path, run: str, identity: Mapping[str, Any]) -> bool:
    """Whether this same run has made `output` before; run: its stamp, which the checkpoint records; identity: what it is made of.

    Raises UsageError, naming what differs, if it belongs to another run and must not be replaced. A checkpoint installed without
    a name may be replaced.
    """
    if request.overwrite or not os.path.lexists(output):
        return False
    # A snapshot beside it belongs to a run that was stopped between the two; the same command continues from it.
    if is_file(snapshot_path(output)) and is_checkpoint(output):
        return False
    metadata = read_metadata(output) if is_checkpoint(output) else {}
    if request.resume is not False and metadata.get("run") == run:
        return True
    if request.output is None:
        return False
    listed = what_differs(recorded(metadata), as_recorded(identity))
    made = f", of another run: {listed}" if listed else "" if metadata else ", and is no whole checkpoint"
    raise UsageError(f"{output} exists already{made}", hint=request.replacing)


def recorded(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint records of its run, under the names of a run's identity."""
    entries = {name: metadata[name] for name in ("seed", "precision") if name in metadata}
    schedule = {name.replace("_", " "): value for name, value in metadata.get("schedule", {}).items()}
    if "data" in metadata:
        entries["data"] = metadata["data"]["fingerprint"]
    return {**schedule, **metadata.get("augmentation", {}), **entries}


def as_recorded(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as a checkpoint holds it: a tuple comes back as a list."""
    return dict(json.loads(json.dumps(identity)))


def require_output(request: TrainRequest, name: str, *, network: bool) -> None:
    """Raise XaiError if the checkpoint cannot be written, or would replace another file."""
    if request.output is None:
        if network:
            raise UsageError(f"{name} makes a network, which needs a file name", expected="-o FILE.safetensors")
        require_writable(checkpoints_folder())
        return
    if request.output.suffix != ENDING:
        raise UsageError(f"-o {request.output.name}", expected=f"a name that ends in {ENDING}")
    inputs = files_named(vars(request))
    claim(request.output, inputs, overwrite=True)
    claim(curve_path(request.output), inputs, overwrite=request.overwrite)
    if os.path.lexists(request.output) and not request.overwrite and not is_checkpoint(request.output):
        raise UsageError(f"{request.output} exists already", hint=request.replacing)
    require_writable(request.output.parent)
