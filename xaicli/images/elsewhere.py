"""Photos that are no files of this machine: objects of a store such as s3://, members of tar shards, cells of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xaicli.errors import InputError, XaiError, described
from xaicli.packages import require

GROUPS_KEPT = 4
"""Row groups of Parquet files that are kept in memory, since a photo cannot be read from one alone."""
SKIP = "Skip such photos with --keep-going."


@dataclass(frozen=True)
class Elsewhere:
    """Where a photo's bytes are.

    url: of the object, or of the file that holds it; a path without `://` is one of this machine. offset, size: of a member of a
    tar file. group, row, column: of a cell of a Parquet file.
    """

    url: str
    offset: int = 0
    size: int = -1
    group: int = -1
    row: int = 0
    column: str = ""

    def read(self, name: str, most: int) -> bytes:
        """The photo's bytes; raises InputError if they cannot be had, are none, or are more than `most`."""
        with in_words(name):
            content = self.cell() if self.column else self.object(most)
        if len(content) > most:
            raise InputError(f"{name} has more than {most / 2**20:,.0f} MiB", expected="a photo", hint=SKIP)
        if not content:
            raise InputError(f"{name} is not a readable photo: it is empty (0 bytes)", hint=SKIP)
        return content

    def object(self, most: int) -> bytes:
        files, path = file_system(self.url)
        if self.size >= 0:
            return bytes(files.cat_file(path, start=self.offset, end=self.offset + self.size))
        with files.open(path, "rb") as file:
            return bytes(file.read(most + 1))

    def cell(self) -> bytes:
        return bytes(photo_bytes(row_group(self.url, self.group, self.column)[self.row].as_py()) or b"")


@lru_cache(maxsize=GROUPS_KEPT)
def row_group(url: str, group: int, column: str) -> Any:
    """A column of a row group."""
    require("pyarrow", "parquet")
    from pyarrow import parquet

    files, path = file_system(url)
    with files.open(path, "rb") as file:
        return parquet.ParquetFile(file).read_row_group(group, columns=[column]).column(0)


def photo_bytes(cell: Any) -> bytes | None:
    """The bytes in a cell: alone, or beside a path, as Hugging Face's data sets have them."""
    found = cell.get("bytes") if isinstance(cell, dict) else cell
    return found if isinstance(found, bytes) else None


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    files, path = require("fsspec", "remote").core.url_to_fs(url)
    return files, path


@contextmanager
def in_words(name: str) -> Iterator[None]:
    """What any file system raises, in one line."""
    try:
        yield
    except (XaiError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist", expected="a photo") from error
    except ImportError as error:
        protocol = name.partition("://")[0]
        raise InputError(f"{protocol}:// cannot be read here: {error}", hint='Type: pip install "xaicli[remote]"') from error
    # Each file system has exceptions of its own.
    except Exception as error:
        raise InputError(f"{name} cannot be read: {described(error)}", hint=SKIP) from error
