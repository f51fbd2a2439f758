"""The state of a training run on disk, from which it continues as if it had never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from xaicli.errors import InputError, UsageError
from xaicli.files import write_atomic
from xaicli.models.torch_file import UNREADABLE, load_tensors

ENDING = ".resume"
AGAIN = "Write --fresh to start over."


def snapshot_path(output: Path) -> Path:
    """The path of the snapshot of a run that writes `output`."""
    return output.with_name(output.name + ENDING)


def write_snapshot(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the earlier state, whole or not at all; raises InputError."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    write_atomic(path, lambda file: file.write(content))


def read_snapshot(path: Path, identity: Mapping[str, Any], again: str = AGAIN) -> dict[str, Any]:
    """The state of a run with this identity (tensors on the CPU); raises InputError if the file is damaged, UsageError, naming
    what differs, if it belongs to another run. again: how a user starts over."""
    try:
        state = load_tensors(path, "a snapshot of xai train")
    except UNREADABLE as error:
        raise InputError(f"{path} is not a readable snapshot", expected="one that xai train wrote", hint=again) from error
    known = state.get("identity") if isinstance(state, dict) else None
    if not isinstance(known, dict):
        raise InputError(f"{path} is not a snapshot of a training run", expected="one that xai train wrote", hint=again)
    listed = what_differs({key: known.get(key) for key in identity}, identity)
    if listed:
        raise UsageError(f"{path} belongs to another run: {listed}", hint=f"Repeat that command, or choose another -o. {again}")
    return dict(state)


def what_differs(known: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """The first three entries of a run that differ from those of this one, `lr 0.1 (now 0.05)`; empty if all agree."""
    different = [key for key, value in known.items() if key in identity and value != identity[key]]
    return ", ".join(f"{key} {brief(known[key])} (now {brief(identity[key])})" for key in different[:3])


def brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
