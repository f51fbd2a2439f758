"""Which row of a table belongs to which photo, by the names that the table gives them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from xaicli.images.source import Source
from xaicli.words import count


@dataclass(frozen=True)
class TableRows:
    """by_photo: the name under which a table lists each photo; shared: names that fit several photos alike, so that none of these
    has a row."""

    by_photo: dict[Source, str]
    shared: dict[str, tuple[str, ...]]

    @property
    def doubt(self) -> str:
        """A line about the first of the shared names."""
        name, photos = next(iter(self.shared.items()))
        more = f", and {count(len(self.shared) - 1, 'name')} more like it" if len(self.shared) > 1 else ""
        return f"{name} fits {count(len(photos), 'photo')}, {photos[0]} and {photos[1]}{more}"


def rows_of(listed: Iterable[str], photos: Mapping[Source, str]) -> TableRows:
    """The row of each photo, among the names that a table lists.

    photos: each with its path, as it was given or below its folder. A name in the table is that path, or the end of the whole
    one: the file's name, with or without its ending, after as many folders as the table gives. Of several names that fit a
    photo, the longest counts.
    """
    whole = set(listed)
    known = {plain(name): name for name in sorted(whole)}
    taken: dict[str, list[Source]] = defaultdict(list)
    for source, path in photos.items():
        fitting = path if path in whole else next((known[end] for end in ends_of(source) if end in known), None)
        if fitting is not None:
            taken[fitting].append(source)
    by_photo: dict[Source, str] = {}
    shared: dict[str, tuple[str, ...]] = {}
    for name, fit in taken.items():
        # The path of one photo is that photo's row, even if another photo's path ends so.
        owners = [source for source in fit if photos[source] == name] or fit
        if len({photos[source] for source in owners}) == 1:
            # Several only if they are frames of one file.
            by_photo |= dict.fromkeys(owners, name)
        else:
            shared[name] = tuple(source.path for source in owners)
    return TableRows(by_photo, shared)


def ends_of(source: Source) -> Iterator[str]:
    """The ends of a photo's whole path, the longest first, each with the ending of the file and without it."""
    whole = plain(source.path if source.file is None else os.path.abspath(source.path))
    *folders, file = whole.split("/")
    for start in range(len(folders) + 1):
        for name in (file, PurePosixPath(file).stem):
            yield "/".join([*folders[start:], name])


def plain(path: str) -> str:
    """A path with slashes, and without the folder `.` in it."""
    return "/".join(part for part in path.replace(os.sep, "/").split("/") if part != ".")
