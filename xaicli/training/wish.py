"""What a user asks to be trained, and the refusals that need no data yet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.errors import UsageError
from xaicli.files import require_writable
from xaicli.models.checkpoint import ENDING, checkpoints_folder, is_checkpoint
from xaicli.training.curve import curve_path
from xaicli.training.snapshot import snapshot_path
from xaicli.untrusted import is_file


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user asks for.

    model: a specification; model_options: further arguments of `load_classifier`; given: parameters of training; overrides:
    entries of the schedule; held: photos to hold out where `val` names none, None for one in fifty; output: None for a place
    where methods find it by themselves; half: tensors in float16; pretrained: start from the model's weights; resume: go on from
    a snapshot, None where there is one, True demands one, False starts over.
    """

    method: str
    data: str
    model: str
    output: Path | None = None
    val: str | None = None
    given: dict[str, str] = field(default_factory=dict)
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


def require_output(wish: Wish, name: str, *, network: bool) -> None:
    """Raise where the checkpoint cannot be written, or would replace one."""
    if wish.output is None:
        if network:
            raise UsageError(f"{name} gives a network of its own, which needs a name", expected="-o FILE.safetensors")
        require_writable(checkpoints_folder())
        return
    if wish.output.suffix != ENDING:
        raise UsageError(f"-o {wish.output.name}", expected=f"a name that ends in {ENDING}")
    inputs = [wish.model, wish.data, wish.val, wish.model_options.get("weights")]
    claim(wish.output, [Path(given) for given in inputs if given], overwrite=True)
    claim(curve_path(wish.output), overwrite=wish.overwrite)
    # A snapshot beside it is of a run that was stopped between the two; the same command goes on from it.
    unfinished = is_file(snapshot_path(wish.output)) and is_checkpoint(wish.output)
    if os.path.lexists(wish.output) and not wish.overwrite and not unfinished:
        raise UsageError(f"{wish.output} is there already", hint="Choose another name, or write --overwrite.")
    require_writable(wish.output.parent)
