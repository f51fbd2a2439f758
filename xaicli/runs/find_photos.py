"""The photos given to a public function: paths as on the command line, or pictures in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.errors import UsageError, XaiError
from xaicli.images.find import ENDINGS, find
from xaicli.images.names import with_names
from xaicli.images.source import Source
from xaicli.images.video import VIDEOS
from xaicli.untrusted import is_folder

Photos = Any
"""A path as on the command line (file, folder, glob, `@list.txt`, `sample:hopper`), a PIL image, an array (h, w, 3) or (h, w), a
tensor (3, h, w), or an iterable of these."""


@dataclass(frozen=True)
class FoundPhotos:
    """Photos in order; errors: what could not be found, under `keep_going`."""

    sources: list[Source]
    errors: list[XaiError]


def find_photos(
    images: Photos,
    *,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    videos: bool = False,
    exclude: str | Path | None = None,
    keep_going: bool = False,
) -> FoundPhotos:
    """The photos that `images` names; those in memory are called photo-1, photo-2, … in their order.

    recursive: look into folders of folders; null: paths on standard input end in NUL; videos: folders and globs mean videos too;
    exclude: a folder to skip. Raises UsageError if no photo is named, InputError if one is missing.
    """
    photos = [images] if is_photo(images) else list(images)
    errors: list[XaiError] = []
    if not photos:
        raise UsageError(
            "no photo is named", expected="files, folders, globs, @list.txt or -", hint="First try: xai explain sample:hopper"
        )
    if not all(isinstance(photo, str | os.PathLike) for photo in photos):
        return FoundPhotos(in_memory(photos, frame)[:limit], [])
    sources = find(
        [os.fspath(photo) for photo in photos],
        recursive=recursive,
        null=null,
        limit=limit,
        frame=frame,
        endings=ENDINGS | VIDEOS if videos else ENDINGS,
        exclude=[] if exclude is None else [Path(exclude)],
        on_error=errors.append if keep_going else None,
    )
    if not sources and errors:
        raise errors[0]
    return FoundPhotos(sources, errors)


def folders_in(images: Photos) -> list[Path]:
    """The folders that `images` names."""
    named = [images] if is_photo(images) else images
    return [Path(one) for one in named if isinstance(one, str | os.PathLike) and is_folder(Path(one))]


def in_memory(photos: list[Any], frame: int) -> list[Source]:
    """Sources of photos, at least one of which is in memory."""
    if len(photos) == 1:
        return [Source.of(photos[0], frame)]
    return with_names([Source.of(photo, frame, f"photo-{number}") for number, photo in enumerate(photos, 1)])


def is_photo(images: Photos) -> bool:
    """Whether the argument is a single photo (a path, a picture, an array of two or three dimensions) although it may be
    iterable."""
    return isinstance(images, str | os.PathLike | Source) or getattr(images, "ndim", 4) <= 3 or not isinstance(images, Iterable)
