"""The request for a training run, and what is refused before any data is read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.errors import UsageError
from xaicli.files import require_writable
from xaicli.models.checkpoint import ENDING, checkpoints_folder, is_checkpoint, read_metadata
from xaicli.named_files import files_named
from xaicli.training.curve import curve_path
from xaicli.training.snapshot import snapshot_path
from xaicli.untrusted import is_file


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What is to be trained, on which photos, and how.

    model: a specification; model_options: further arguments of `load_classifier`; parameters: of training, as typed; overrides:
    entries of the schedule; held: how many photos to hold out if `val` is None, None for one in fifty; output: None for the
    folder in which methods find checkpoints; half: tensors in float16; pretrained: start from the model's weights; resume: None
    continues from a snapshot if there is one, True demands one, False starts over.
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

    @property
    def precision(self) -> str:
        """How passes are computed, as records name it."""
        return "bf16" if self.bf16 else "fp32"


def is_complete(request: TrainRequest, output: Path, run: str) -> bool:
    """Whether this same run has made `output` before; run: its stamp, which the checkpoint records.

    Raises UsageError if it belongs to another run and must not be replaced. A checkpoint installed without a name may be
    replaced.
    """
    if request.overwrite or not os.path.lexists(output):
        return False
    # A snapshot beside it belongs to a run that was stopped between the two; the same command continues from it.
    if is_file(snapshot_path(output)) and is_checkpoint(output):
        return False
    if request.resume is not False and is_checkpoint(output) and read_metadata(output).get("run") == run:
        return True
    if request.output is None:
        return False
    raise there_already(output)


def there_already(output: Path) -> UsageError:
    return UsageError(f"{output} exists already", hint="Choose another name, or write --overwrite.")


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
        raise there_already(request.output)
    require_writable(request.output.parent)
