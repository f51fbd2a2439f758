"""Which files a run may replace: never its own inputs, nor a file that xai did not write.

Pictures and pages of xai contain a mark by which they are recognised under any name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.files import refuse_url, require_name
from xaicli.untrusted import is_file, is_folder, opened

MARK = "xaicli"
"""The mark: `Software` in pictures, the generator of pages, the comment of moving pictures."""

LIST_OF_COPIES = "labels.csv"
COLUMNS_OF_COPIES = ("image", "label", "source", "filled")
"""The list that `xai augment` writes beside its copies, and its columns, by which it is recognised."""
COPY = f"{MARK} augment"
"""The mark in these copies, which is that of pictures with a word more."""

MARKS: tuple[tuple[bytes, ...], ...] = (
    (b"\x89PNG", b"tEXtSoftware\0xaicli"),
    (b"GIF89a", b"!\xfe\x06xaicli\0"),
    (b"WEBP", b"\x01\x31\0\x02\0\0\0\x07\0\0\0\x1a\0\0\0\0xaicli\0"),
    (b'<meta name="generator" content="xaicli',),
    (b"image,method,target,metric,value,status,definition,subject,seed",),
    (",".join(COLUMNS_OF_COPIES).encode(),),
    (b'{"image": ', b'"definition": "', b'"subject": "'),
    (b'{\n "generator": "xaicli"',),
    (b'{\n "schema": ', b'"maps": "maps-', b'"definitions": '),
    (b"PAR1", b"xaicli"),
    (b"PK\x03\x04", b"xaicli evidence"),
    (b"%PDF", b"/Producer (xaicli)"),
    (b"<svg", b"<dc:title>xaicli</dc:title>"),
)
"""How each kind of our files is recognised: all of these texts occur in its first and last bytes."""
LOOKED_AT = 8192

NO_STORES = {".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx", ".pdf", ".svg", ".png", ".jpg", ".html", ".txt"}
"""Endings of tables, pictures and pages."""


def claim(path: Path, inputs: Iterable[Path | None] = (), *, overwrite: bool | None = None) -> None:
    """Raise UsageError, before any work, if `path` is a URL, a file that the run reads, or one that xai did not write.

    inputs: the files that the run reads; overwrite: allows replacing a file that xai did not write, but never an input; None for
    a run that has no such option, which then is not named in the hint.
    """
    refuse_url(path)
    require_name(path)
    here = identity_of(path)
    if here is None:
        return
    if any(source is not None and identity_of(source) == here for source in inputs):
        raise UsageError(
            f"{path} is a file that this run reads", expected="another name for what it writes", hint="Choose it with -o."
        )
    if is_folder(path):
        raise UsageError(f"{path} is a folder", expected="the name of a file", hint="Choose another name with -o.")
    if not overwrite and not is_own(path):
        choice = "Choose another name with -o." if overwrite is None else "Choose another name with -o, or --overwrite it."
        raise UsageError(f"{path} exists already, and xai did not write it", hint=choice)


def refuse_no_store(path: Path) -> None:
    """Raise UsageError for a name that a store would get by mistake: that of a table or picture, or `-`."""
    if path.name != "-" and (path.suffix.lower() not in NO_STORES or is_file(path)):
        return
    raise UsageError(
        f"-o {path}, where a store is written",
        expected="a name such as scores.db",
        hint="For a table: xai export scores.db -o FILE.csv; for a page or figure: xai report scores.db.",
    )


def identity_of(path: Path) -> tuple[int, int] | None:
    """The identity of a file, whatever links lead to it; None if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def is_own(path: Path) -> bool:
    """Whether a file contains the mark that xai wrote it."""
    if not is_file(path):
        return False
    with opened(path, "a file of results") as file:
        ends = file.read(LOOKED_AT)
        file.seek(max(0, file.seek(0, 2) - LOOKED_AT))
        ends += file.read(LOOKED_AT)
    return any(all(part in ends for part in mark) for mark in MARKS)


def is_own_picture(path: Path) -> bool:
    """Whether a picture or array in a folder of photos was made by xai; files with other endings than ours are not opened."""
    if path.suffix == ".npy":
        return any(is_record(path.with_name(f"{stem}.json")) for stem in (path.stem, path.stem.rpartition(".")[0]) if "." in stem)
    named = path.suffix in (".png", ".gif", ".webp") and (path.name.count(".") > 1 or path.stem in ("sheet", "compare"))
    return named and is_own(path)


def holds_copies(folder: Path) -> bool:
    """Whether `xai augment` wrote its copies into a folder. They are photos where they are named, but none of those of a folder
    around them."""
    return begins(folder / LIST_OF_COPIES, ",".join(COLUMNS_OF_COPIES).encode())


def is_copy(path: Path) -> bool:
    """Whether a file is a copy that `xai augment` wrote."""
    return begins(path, b"\x89PNG", f"tEXtSoftware\0{COPY}".encode())


def begins(path: Path, start: bytes, part: bytes = b"") -> bool:
    """Whether a file begins with these bytes, and holds the others soon after; no for one that cannot be read."""
    try:
        if not is_file(path):
            return False
        with opened(path, "a file that xai wrote") as file:
            head = file.read(LOOKED_AT)
    except (InputError, OSError):
        return False
    return head.startswith(start) and part in head


def is_record(path: Path) -> bool:
    """Whether a file is the sidecar of a map."""
    if not is_file(path):
        return False
    with opened(path, "a sidecar") as file:
        file.seek(max(0, file.seek(0, 2) - LOOKED_AT))
        return b'"schema_version": ' in file.read()
