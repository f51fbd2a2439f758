"""Where a network's return value holds its outputs: a tensor, or an entry of a tuple, list, dict or ModelOutput.

Outputs are (B, C), or class maps (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import RunError, UsageError, XaiError
from xaicli.network.regions import is_class_map
from xaicli.words import count, type_of

NAMED = ("logits", "out")
"""The names that transformers and torchvision give to the entry with the logits."""


def read_outputs(output: object, photos: int, model: str, wanted: str = "") -> Tensor:
    """The outputs (B, C), or the class maps (B, C, H, W), of a model for B photos, in float32.

    wanted: the entry to take, a key or an index (`--output-name`). Without it a single tensor counts; of several entries, the one
    called `logits` or `out`, or else the only tensor of B rows that has one of these forms. Raises RunError if there is none.
    Raises UsageError if there is more than one, since the entry is never guessed, and if `wanted` names no entry, or one that is
    no outputs.
    """
    entries = entries_of(output)
    if wanted:
        if wanted not in entries:
            alone = "" if entries else "It returned one tensor: leave --output-name out."
            raise UsageError(f'{model} returned no output "{wanted}"', expected=listed(entries), hint=alone)
        return as_logits(entries[wanted], photos, f"output {wanted} of {model}", UsageError)
    if not entries:
        return as_logits(output, photos, f"what {model} returned")
    fitting = [name for name in NAMED if name in entries] or [name for name, entry in entries.items() if fits(entry, photos)]
    if len(fitting) == 1:
        return as_logits(entries[fitting[0]], photos, f"output {fitting[0]} of {model}")
    found = f"{count(len(fitting), 'output')} that could be logits" if fitting else "no output of shape (photos, classes)"
    raise (UsageError if fitting else RunError)(
        f"{model} returned {found}",
        expected="one tensor of logits (photos, classes)",
        hint=f"Say which output it is: --output-name NAME, of {listed(entries)}.",
    )


def entries_of(output: object) -> dict[str, Any]:
    """Entries by name: keys of a mapping, or positions in a tuple or list; none if the output is one tensor."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items() if value is not None}
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", None) or range(len(output))
        return {str(name): value for name, value in zip(names, output, strict=True) if value is not None}
    return {}


def listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {tuple(entry.shape)}" if is_tensor(entry) else name for name, entry in entries.items())


def fits(entry: object, photos: int) -> bool:
    return isinstance(entry, Tensor | np.ndarray) and len(entry) == photos and (entry.ndim == 2 or is_class_map(entry))


def is_tensor(entry: object) -> bool:
    return isinstance(entry, Tensor | np.ndarray)


def as_logits(entry: object, photos: int, what: str, fault: type[XaiError] = RunError) -> Tensor:
    """A tensor or array (photos, classes), or (photos, classes, height, width), in float32. Raises `fault` for another entry, and
    RunError for other rows than photos."""
    if isinstance(entry, np.ndarray):
        entry = torch.from_numpy(entry)
    if not isinstance(entry, Tensor):
        raise fault(
            f"{what} is {type_of(entry)}",
            expected="one tensor of logits (photos, classes)",
            hint="Wrap the network in a module that returns its logits alone, or give --output-name.",
        )
    if entry.ndim == 1 and len(entry) == photos:
        # One number per photo: a network that squeezes its only output.
        entry = entry[:, None]
    if (entry.ndim != 2 and not is_class_map(entry)) or entry.is_complex():
        raise fault(f"{what} is a tensor of shape {tuple(entry.shape)}, {entry.dtype}", expected="logits (photos, classes)")
    if len(entry) != photos:
        raise RunError(
            f"{what} has {count(len(entry), 'row')} for {count(photos, 'photo')}",
            expected="one row per photo",
            hint="A model of fixed batch size needs --batch-size to match.",
        )
    return entry.float()
