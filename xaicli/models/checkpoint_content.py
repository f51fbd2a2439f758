"""How a checkpoint counts in results: by its content as it was trained, not by its folder or by figures measured since."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from xaicli.models.checkpoint import SCHEMA, TENSORS, is_checkpoint, read_metadata, tensors_checksum, write_checkpoint
from xaicli.stamps import checksum_of, sha256_file
from xaicli.untrusted import file_state, is_file, status_if_there

MEASURED = "measured"
"""The entry of the metadata for figures that were measured after the training."""
IN_SHORT = "in short"
"""Its entry for people: the figure that matters most, in a few words."""
TRAINED = "as trained"
"""Its entry that tells what the file was before: its hash, and a checksum of the other metadata."""
SHA256 = re.compile("[0-9a-f]{64}")
CONTENT_DIGITS = 16
"""Hex digits by which a file's content is told apart."""


def content_of(path: str) -> str:
    """A checkpoint's identity, without its folder: the file's name and a stamp of its bytes, where it can be read."""
    file = Path(os.path.expanduser(path))
    # Not every text is a path: one may hold a null character.
    status = status_if_there(file) if is_file(file) else None
    return file.name if status is None else f"{file.name} {digest_of(file, file_state(status))}"


@functools.lru_cache(maxsize=8)
def digest_of(path: Path, state: tuple[int, ...]) -> str:
    return hash_as_trained(path)[:CONTENT_DIGITS]


def hash_as_trained(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; of a checkpoint with figures, as it was before `add_figures`. Raises InputError."""
    if is_checkpoint(path):
        trained = figures_of(read_metadata(path)).get(TRAINED)
        if trained is not None:
            return str(trained["sha256"])
    return sha256_file(path)


def add_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures that were measured of a checkpoint into its metadata, in the place of earlier ones; raises InputError.

    The tensors stay as they are, and so do the stamps of results: `content_of` is that of the file as it was trained.
    """
    rest = {**without_figures(read_metadata(path)), "schema": SCHEMA}
    tensors = safetensors.torch.load_file(path)
    rest[TENSORS] = tensors_checksum(tensors)
    trained = {"sha256": hash_as_trained(path), "record": checksum_of(rest)}
    write_checkpoint(path, tensors, {**rest, MEASURED: {**figures, TRAINED: trained}})


def figures_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures that were measured after the training; empty where there are none, or where they are of another file: whatever
    else was changed since makes it another one."""
    found = metadata.get(MEASURED)
    if not isinstance(found, dict) or not isinstance(trained := found.get(TRAINED), dict):
        return {}
    whole = SHA256.fullmatch(str(trained.get("sha256"))) is not None
    return found if whole and trained.get("record") == checksum_of(without_figures(metadata)) else {}


def without_figures(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != MEASURED}
