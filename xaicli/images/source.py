"""A photo before it is opened: its path as given, its name, and where it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.elsewhere import Elsewhere
from xaicli.stamps import sha256_file
from xaicli.untrusted import readable
from xaicli.words import type_of

LARGEST_FILE = 1 << 30
"""Maximum bytes of a photo's file."""


@dataclass(frozen=True, slots=True)
class Source:
    """One photo to be explained.

    path: as given, or `sample:NAME`; rows and records use it as the photo's name. name: the name in tables, by default the file's
    name. frame: the frame or page wanted, or the first of a sequence. file: where it lies, None for a photo in memory, which is
    in `memory`, and for one that is no file of this machine: `memory` then says where it is. folder: in which it was found, where
    a folder was named. parts: of a sequence whose frames lie in files of their own, or apart in memory, these frames in order.
    """

    path: str
    name: str = ""
    frame: int = 0
    file: Path | None = None
    memory: Any = field(default=None, compare=False, repr=False)
    folder: Path | None = field(default=None, compare=False, repr=False)
    parts: tuple[Source, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.file is None and self.memory is None and not self.parts:
            object.__setattr__(self, "file", Path(self.path))
        object.__setattr__(self, "name", self.name or Path(self.path).name or self.path)

    @classmethod
    def of(cls, photo: Any, frame: int = 0, name: str = "photo") -> Source:
        """A source for a path, PIL image, array or tensor; `name` is the name of a photo in memory."""
        if isinstance(photo, cls):
            return photo
        if isinstance(photo, (str, os.PathLike)):
            return cls.of_file(Path(photo), frame)
        if isinstance(photo, Image.Image) or hasattr(photo, "__array__"):
            return cls(name, name, frame, None, photo)
        raise InputError(f"{type_of(photo)} is not a photo", expected="a path, a PIL image, a NumPy array or a tensor")

    @classmethod
    def of_file(cls, file: Path, frame: int = 0, path: str = "") -> Source:
        path = path or readable(file)
        return cls(path, Path(path).name, frame, file)


def content_hash(source: Source) -> str | None:
    """SHA-256 of the photo's bytes in hex, as `decode` gives it; None if the file cannot be read."""
    if source.parts:
        return hash_of_parts([content_hash(part) for part in source.parts])
    if source.file is None and not isinstance(source.memory, Elsewhere):
        return memory_hash(source.memory)
    try:
        if source.file is None:
            return hashlib.sha256(source.memory.read(source.path, LARGEST_FILE)).hexdigest()
        return sha256_file(source.file)
    except InputError:
        return None


def hash_of_parts(parts: Sequence[str | None]) -> str | None:
    """SHA-256 of a sequence of pictures, from those of each; None if one could not be read."""
    return None if None in parts else hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def memory_hash(photo: Any) -> str:
    """SHA-256 over the type, shape and bytes of a PIL image, array or tensor; an array and an equal tensor hash alike."""
    if isinstance(photo, Image.Image):
        palette = photo.getpalette("RGBA") if photo.mode in ("P", "PA") else None
        what: object = (photo.mode, photo.size, palette, photo.info.get("transparency"))
        content = photo.tobytes()
    else:
        array = as_array(photo)
        what = (array.dtype.str.lstrip("<>=|"), array.shape)
        content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return hashlib.sha256(repr(what).encode() + b"\0" + content).hexdigest()


def as_array(photo: Any) -> np.ndarray:
    """A NumPy array or a tensor, on any device, as an array; raises InputError if that is impossible."""
    try:
        # A tensor is recognised by its `detach`: this file does not import torch, which takes seconds.
        return np.asarray(photo.detach().cpu() if hasattr(photo, "detach") else photo)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{type_of(photo)} that cannot become an array: {error}", expected="a NumPy array or a tensor"
        ) from error
