"""The cache of downloaded files and converted networks: its folder, its contents, and clearing it. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from xaicli.errors import InputError
from xaicli.untrusted import is_file, is_folder
from xaicli.words import count

KINDS = ("weights", "engines")
"""Our subfolders; nothing else in the cache folder is ever listed or removed."""


@dataclass(frozen=True)
class CachedFile:
    """One file in the cache and its size in bytes."""

    path: Path
    size: int


def cache_folder() -> Path:
    """Where files are kept: XAI_CACHE if it is set, else the system's cache folder."""
    chosen = os.environ.get("XAI_CACHE", "").strip()
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("xaicli", appauthor=False)


def weights_folder() -> Path:
    return cache_folder() / "weights"


def engines_folder() -> Path:
    return cache_folder() / "engines"


def cached_files() -> list[CachedFile]:
    """All files in the cache, sorted by path, including unfinished downloads (`*.part`)."""
    found = []
    for kind in KINDS:
        folder = cache_folder() / kind
        for path in sorted(folder.iterdir()) if is_folder(folder) else []:
            if path.is_symlink() or is_file(path):
                found.append(CachedFile(path, path.lstat().st_size))
    return found


def clear_cache() -> list[CachedFile]:
    """Remove all files in the cache and return them; raises InputError if one cannot be removed."""
    removed: list[CachedFile] = []
    for cached in cached_files():
        try:
            cached.path.unlink(missing_ok=True)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise InputError(
                f"{cached.path} cannot be removed: {reason}", hint=f"Removed before it: {count(len(removed), 'file')}."
            ) from error
        removed.append(cached)
    return removed
