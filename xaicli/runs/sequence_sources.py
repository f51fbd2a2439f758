"""Which of the photos that a user names are frames of one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from PIL import Image

from xaicli.errors import UsageError
from xaicli.images.names import with_names
from xaicli.images.source import Source
from xaicli.images.video import VIDEOS

MOVING = frozenset({".gif", ".webp", ".apng", ".avif", ".tif", ".tiff", ".npy", ".npz"})
"""Endings of files that may be a sequence of their own, also in a folder."""
IN_MEMORY = "sequence"
"""The name of a sequence in memory."""


def as_sequences(sources: Sequence[Source], frame: int = 0) -> list[Source]:
    """The sequences among sources, in order: the still pictures of one folder are the frames of one, and so are pictures that
    follow one another in memory; any other file, and any array of four axes, is a sequence of its own.

    frame: the first that is wanted of each. Raises UsageError if nothing is named.
    """
    found: list[Source] = []
    for key, group in groupby(sources, belonging):
        members = list(group)
        if key is None:
            found += members
        elif key is IN_MEMORY:
            parts = tuple(replace(member, frame=0) for member in members)
            found.append(Source(IN_MEMORY, IN_MEMORY, frame, parts=parts))
        else:
            assert isinstance(key, Path)
            parts = tuple(replace(member, frame=0) for member in members)
            found.append(replace(Source.of_file(key, frame), parts=parts))
    if not found:
        raise UsageError("no sequence is named", expected="GIFs, WebPs, videos, or folders of frames")
    return with_names(found)


def belonging(source: Source) -> Path | str | None:
    """What a frame has in common with the others of its sequence; None for a sequence of its own."""
    if source.file is None:
        moving = isinstance(source.memory, Image.Image) and getattr(source.memory, "n_frames", 1) > 1
        return None if moving or source.parts or getattr(source.memory, "ndim", 3) > 3 else IN_MEMORY
    ending = source.file.suffix.lower()
    return None if source.folder is None or ending in MOVING | VIDEOS else source.folder
