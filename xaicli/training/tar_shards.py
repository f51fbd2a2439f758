"""Tar shards as training data, as webdataset lays them out: KEY.jpg, and its class in KEY.cls (an index or a name) beside it."""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from xaicli.errors import InputError
from xaicli.images.elsewhere import in_words
from xaicli.images.find import find
from xaicli.images.find_elsewhere import is_shown
from xaicli.images.source import Source
from xaicli.untrusted import is_file, is_folder, is_there, readable

ENDING = ".tar"
COMPRESSED = (".tar.gz", ".tgz")
BESIDE = frozenset({"", ".json", ".txt", ".md", ".yaml", ".yml", ".parquet"})
"""Endings of files beside shards that tell of them; img2dataset writes a table KEY.parquet for each."""
RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
CLASS = ".cls"
LONGEST = 1024
"""Bytes of a class's name."""


def shards_of(place: Path) -> tuple[Path, ...]:
    """The tar files that `place` is, holds or names by a range, in the order of their names; none if there are other things.

    Raises InputError for compressed shards and for those of a range that are missing.
    """
    files = [file for file in named(place) if not tells_of_shards(file)]
    packed = [file for file in files if file.name.lower().endswith(COMPRESSED)]
    if any(file.suffix.lower() != ENDING and file not in packed for file in files):
        return ()
    if packed:
        first = readable(packed[0])
        hint = f"Write gunzip {shlex.quote(first)}, and so for each shard."
        raise InputError(f"{first} is compressed", expected="uncompressed shards, FILE.tar", hint=hint)
    return tuple(files)


def named(place: Path) -> list[Path]:
    """The entries of a folder by name, without hidden ones; or the file itself; or the files of a range."""
    if is_folder(place):
        return sorted((file for file in place.iterdir() if not file.name.startswith(".")), key=lambda file: file.name)
    return [place] if is_there(place) else in_range(place)


def tells_of_shards(file: Path) -> bool:
    return file.suffix.lower() in BESIDE and is_file(file)


def in_range(place: Path) -> list[Path]:
    """The files that webdataset's pattern names, FILE-{000..146}.tar; none for a name without a range."""
    files: list[Path] = []
    for name in expanded(place.name) if RANGE.search(place.name) else ():
        file = place.with_name(name)
        if not is_there(file):
            raise InputError(f"there is nothing at {readable(file)}", expected=f"every shard of {readable(place)}")
        files.append(file)
    return files


def expanded(name: str) -> Iterator[str]:
    """A name with each number of its ranges; the first number says how many digits there are at least."""
    found = RANGE.search(name)
    if found is None:
        yield name
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield from expanded(f"{name[: found.start()]}{number:0{len(first)}}{name[found.end() :]}")


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
