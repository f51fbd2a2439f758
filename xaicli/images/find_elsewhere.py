"""Photos named by URL, in tar shards and in Parquet files."""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from xaicli.errors import InputError
from xaicli.images.elsewhere import Elsewhere, file_system, in_words, photo_bytes
from xaicli.images.source import Source
from xaicli.packages import require

CONTAINERS = (".tar", ".parquet")
"""Endings of files that hold many photos."""
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "photo")
"""Columns of a Parquet file that are tried in this order, before any other that holds bytes."""
WEB = ("http://", "https://")


def is_url(text: str) -> bool:
    """Whether a text is a URL of a file system; web pages are none."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.isidentifier() and not text.lower().startswith(WEB)


def is_container(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in CONTAINERS


def photos_at_url(url: str, frame: int, endings: Collection[str], *, recursive: bool) -> list[Source]:
    """The photos at a URL: an object, all photos below a folder, what a pattern matches, or those in containers.

    Raises InputError if there are none.
    """
    with in_words(url):
        files, path = file_system(url)
        if glob.has_magic(path):
            paths = sorted(files.glob(path))
        elif files.isdir(path):
            paths = sorted(files.find(path) if recursive else files.ls(path, detail=False))
        else:
            files.info(path)
            return photos_of(url, frame, endings)
        wanted = [one for one in paths if PurePosixPath(one).suffix.lower() in (*endings, *CONTAINERS) and not files.isdir(one)]
        urls = [str(files.unstrip_protocol(one)) for one in wanted]
    if not urls:
        hint = "" if recursive else "--recursive looks into its folders."
        raise InputError(f"{url} holds no photos", expected="files such as .jpg, .png, .tar, .parquet", hint=hint)
    return [source for one in urls for source in photos_of(one, frame, endings)]


def photos_of(url: str, frame: int, endings: Collection[str], shown: str = "") -> list[Source]:
    """The photo of an object, or those that a file holds; shown: its name in results, by default the URL."""
    ending = PurePosixPath(url).suffix.lower()
    if ending == ".tar":
        return members(url, frame, endings, shown or url)
    if ending == ".parquet":
        return cells(url, frame, shown or url)
    return [source_of(shown or url, Elsewhere(url), frame)]


def source_of(path: str, place: Elsewhere, frame: int) -> Source:
    return Source(path, PurePosixPath(path).name, frame, None, place)


def members(url: str, frame: int, endings: Collection[str], shown: str) -> list[Source]:
    """The photos of a tar shard, as webdataset lays them out: KEY.jpg beside KEY.json and others."""
    found = []
    with in_words(shown):
        files, path = file_system(url)
        try:
            with files.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as shard:
                for member in shard:
                    if is_shown(member) and PurePosixPath(member.name).suffix.lower() in endings:
                        place = Elsewhere(url, member.offset_data, member.size)
                        found.append(source_of(f"{shown}/{member.name}", place, frame))
                refuse_cut_short(shard)
        except tarfile.TarError as error:
            raise InputError(f"{shown} is not a readable tar file: {error}", expected="an uncompressed tar of photos") from error
    if not found:
        raise InputError(f"{shown} holds no photos", expected="members such as KEY.jpg")
    return found


def is_shown(member: tarfile.TarInfo) -> bool:
    """Whether a member is a file that is not hidden, as `._KEY.jpg` is, which macOS puts beside KEY.jpg."""
    return member.isreg() and not any(part.startswith(".") for part in PurePosixPath(member.name).parts)


def refuse_cut_short(shard: tarfile.TarFile) -> None:
    """Raise ReadError where the last member is followed by half a header or a damaged one, which `tarfile` takes for the end."""
    assert shard.fileobj is not None
    shard.fileobj.seek(shard.offset)
    behind = shard.fileobj.read(tarfile.BLOCKSIZE)
    if any(behind) or 0 < len(behind) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it is damaged or cut short behind its first {len(shard.getmembers())} members")


def cells(url: str, frame: int, shown: str) -> list[Source]:
    """The photos of a Parquet file's image column: NUMBER, or NUMBER-NAME where a path stands beside the bytes."""
    require("pyarrow", "parquet")
    from pyarrow import parquet

    found = []
    with in_words(shown):
        files, path = file_system(url)
        with files.open(path, "rb") as file:
            table = parquet.ParquetFile(file)
            column = image_column(table.schema_arrow)
            if column is None:
                raise InputError(f"{shown} has no column of images", expected=f"bytes in a column such as {IMAGE_COLUMNS[0]}")
            number = 0
            for group in range(table.num_row_groups):
                for row, cell in enumerate(table.read_row_group(group, columns=[column]).column(0).to_pylist()):
                    if photo_bytes(cell) is not None:
                        name = PurePosixPath(str(cell.get("path") or "")).name if isinstance(cell, dict) else ""
                        own = f"{number}-{name}" if name else str(number)
                        found.append(source_of(f"{shown}/{own}", Elsewhere(url, group=group, row=row, column=column), frame))
                    number += 1
    if not found:
        raise InputError(f"{shown} holds no photos", expected="bytes of photos in its image column")
    return found


def image_column(schema: Any) -> str | None:
    """The column that holds images."""
    import pyarrow as arrow

    def holds_bytes(kind: Any) -> bool:
        if arrow.types.is_struct(kind):
            return any(kind.field(at).name == "bytes" and holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
        return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))

    names = [field.name for field in schema if holds_bytes(field.type)]
    return next((name for name in (*IMAGE_COLUMNS, *names) if name in names), None)


def photos_in_file(path: Path, frame: int, endings: Collection[str], shown: str) -> list[Source]:
    """The photos in a tar or Parquet file of this machine."""
    return photos_of(os.path.abspath(path), frame, endings, shown)
