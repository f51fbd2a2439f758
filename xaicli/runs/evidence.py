"""Evidence in one file: maps, records, scores, environment and commands, as a zip; read as a file that nobody vouches for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from xaicli.errors import InputError, XaiError, text_of
from xaicli.files import write_atomic
from xaicli.stamps import sha256_file
from xaicli.untrusted import is_file, is_folder, is_there, opened, read, readable
from xaicli.words import count
from xaicli.writable_text import json_text

MANIFEST = "manifest.json"
COMMENT = b"xaicli evidence"
"""The comment of the zip, by which our own file is recognised."""
SCHEMA = 1
MOST_FILES = 200_000
LARGEST_FILE = 1 << 31
LARGEST_IN_ALL = 1 << 36
MOST_TIMES = 1100
"""How many times its packed size a member may take: deflate reaches 1,032."""
WANTED = "a zip written by xai bundle"
RESULTS = "a folder of xai explain, or a store of xai score"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that the same evidence is the same bytes."""


def require_there(path: Path, wanted: str = RESULTS) -> None:
    """Raise InputError, saying what may be given, if nothing is at a path."""
    if not is_there(path):
        raise InputError(f"there is no {path}", expected=wanted)


def no_records(verb: str, paths: Sequence[Path]) -> InputError:
    """The error for folders without records; it names a store that lies in one of them."""
    stores = [store for path in paths if is_folder(path) for store in sorted(path.glob("*.db"))]
    return InputError(
        f"{', '.join(map(str, paths))} holds no records",
        expected=RESULTS,
        hint=f"Type: xai {verb} {shlex.quote(str(stores[0]))}" if stores else "",
    )


def pack(path: Path, members: Mapping[str, Path], manifest: Mapping[str, Any]) -> None:
    """Write files under their names in the zip, and a manifest with the SHA-256 of each; the same content gives the same
    bytes."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = COMMENT
            files: dict[str, str] = {}
            for name, source in sorted(members.items()):
                digest = hashlib.sha256()
                with opened(source, "a file of the evidence", LARGEST_FILE) as content, archive.open(member(name), "w") as inside:
                    while part := content.read(1 << 20):
                        inside.write(part)
                        digest.update(part)
                files[name] = digest.hexdigest()
            told = {"generator": "xaicli", "schema": SCHEMA, "files": files, **manifest}
            text = json_text(told)
            archive.writestr(member(MANIFEST), text.encode())

    write_atomic(path, write)


def member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return info


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A folder with the files of a zip, which is removed afterwards; raises InputError.

    Names that lead out of the folder, links, and members that unpack to more than they can hold are refused.
    """
    with tempfile.TemporaryDirectory(prefix="xai-evidence-") as place, opened(path, WANTED) as file:
        folder = Path(place)
        try:
            with zipfile.ZipFile(file) as archive:
                unpack(archive, folder, readable(path))
        except (XaiError, MemoryError):
            raise
        # A damaged zip may raise anything: errors of the format, of its compression, of names that no file system takes.
        except Exception as error:
            raise InputError(f"{readable(path)} cannot be unpacked: {reason(error)}", expected=WANTED) from error
        require_files(folder, require_manifest(folder / MANIFEST, readable(path)), readable(path))
        yield folder


def reason(error: BaseException) -> str:
    """What went wrong, without the folder that it was unpacked to, which is gone when this is read."""
    return error.strerror if isinstance(error, OSError) and error.strerror else text_of(error) or type(error).__name__


def require_manifest(path: Path, name: str) -> dict[str, str]:
    """The SHA-256 of each file by its name; raises InputError unless the zip holds a manifest of this version."""
    if not is_file(path):
        raise InputError(f"{name} holds no {MANIFEST}", expected=WANTED)
    try:
        manifest = json.loads(read(path, "the manifest of xai bundle"))
        generator, schema, files = manifest["generator"], manifest["schema"], dict(manifest.get("files", {}))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"the {MANIFEST} in {name} cannot be read", expected=WANTED) from error
    if generator != "xaicli" or schema != SCHEMA:
        raise InputError(f"{name} has a manifest of {generator!s:.40}, version {schema!s:.10}", expected=f"version {SCHEMA}")
    return files


def require_files(folder: Path, files: Mapping[str, str], name: str) -> None:
    """Raise InputError unless the zip holds the files of its manifest, no others, and each as it was."""
    held = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if is_file(path)}
    for inside in sorted({*held, *files} - {MANIFEST}):
        if inside not in held or inside not in files or sha256_file(held[inside]) != files[inside]:
            raise InputError(f"{name} is damaged: {inside!r:.80} is not as its {MANIFEST} says", expected=WANTED)


def unpack(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise InputError(f"{name} holds {count(len(entries), 'file')}", expected=f"at most {MOST_FILES:,}")
    total = 0
    for entry in entries:
        if not plain(entry):
            raise InputError(f"{name} holds {entry.filename!r:.80}, which leads out of it", expected=WANTED)
        target = folder / entry.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        most = min(LARGEST_FILE, MOST_TIMES * (entry.compress_size + 64))
        # Counted as it unpacks: the size in the header is a promise.
        with archive.open(entry) as packed, open(target, "xb") as file:
            held = 0
            while part := packed.read(1 << 20):
                held += len(part)
                total += len(part)
                if held > most or total > LARGEST_IN_ALL:
                    raise InputError(f"{name} unpacks to more than it can hold, in {entry.filename!r:.80}", expected=WANTED)
                file.write(part)


def plain(entry: zipfile.ZipInfo) -> bool:
    """Whether a member is a file with a name inside the folder."""
    path = PurePosixPath(entry.filename)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in entry.filename and ":" not in entry.filename
    is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
    return inside and bool(path.parts) and not is_link
