"""Tar shards as training data, as webdataset lays them out: KEY.jpg, and its class in KEY.cls (an index or a name) beside it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from xaicli.errors import InputError
from xaicli.images.elsewhere import in_words
from xaicli.images.find import find
from xaicli.images.find_elsewhere import is_shown
from xaicli.images.source import Source
from xaicli.untrusted import is_folder, readable

ENDING = ".tar"
CLASS = ".cls"
LONGEST = 1024
"""Bytes of a class's name."""


def shards_of(place: Path) -> tuple[Path, ...]:
    """The tar files that `place` is or holds, in the order of their names; none if it is or holds other things."""
    if place.suffix.lower() == ENDING:
        return (place,)
    files = sorted(place.iterdir(), key=lambda file: file.name) if is_folder(place) else []
    shown = [file for file in files if not file.name.startswith(".")]
    return tuple(shown) if all(file.suffix.lower() == ENDING for file in shown) else ()


def read_shards(shards: Sequence[Path]) -> tuple[list[Source], list[str | None]]:
    """The photos of shards, and the class of each as it is written, None for a photo without; raises InputError."""
    sources: list[Source] = []
    classes: list[str | None] = []
    for shard in shards:
        found, written = find([str(shard)]), dict(classes_in(shard))
        sources += found
        classes += [written.get(key_of(source.path, readable(shard))) for source in found]
    return sources, classes


def classes_in(shard: Path) -> Iterator[tuple[str, str]]:
    """(KEY, class) of each member KEY.cls."""
    with in_words(readable(shard)):
        try:
            with tarfile.open(shard, mode="r:") as members:
                for member in members:
                    if is_shown(member) and member.name.lower().endswith(CLASS):
                        yield keyed(member.name), text_of_class(members, member, readable(shard))
        except tarfile.TarError as error:
            expected = "an uncompressed tar of photos"
            raise InputError(f"{readable(shard)} is not a readable tar file: {error}", expected=expected) from error


def text_of_class(members: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> str:
    content = members.extractfile(member)
    text = b"" if content is None else content.read(LONGEST)
    try:
        return text.decode().strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{shard}/{member.name} is no text", expected="a class's index or name") from error


def key_of(path: str, shard: str) -> str:
    """The key of a photo that is named SHARD/KEY.jpg."""
    return keyed(path.removeprefix(f"{shard}/"))


def keyed(name: str) -> str:
    """A member's name up to its first dot, which is what webdataset joins files by."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))
