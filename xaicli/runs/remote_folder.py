"""An output folder at a URL of fsspec, such as s3://bucket/maps.

Results are made in a folder of this machine, and sent when they are whole: a mark first, the record last, then the mark goes.
So a record there means a complete result, as in a folder, and a mark one of ours that a killed run began. Object stores
have no locks: two runs at once make the same results twice, and lose none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xaicli.errors import InputError, UsageError, XaiError, described
from xaicli.images.elsewhere import file_system
from xaicli.images.find_elsewhere import is_url
from xaicli.runs.result_claim import mark_of
from xaicli.untrusted import is_file, is_there, read

RECORD, MARK = ".json", ".claim"
PLACES = (".npy", ".png", ".gif", ".webp")
"""Endings of the other files of results."""
PROBE = ".probe"
FETCHED_AT_ONCE = 1000
LARGEST = 1 << 32
"""Bytes of a file that is sent."""


class RemoteFolder:
    """The folder at a URL, and its copy on this machine, in which results are made.

    folder: the copy, which is removed when nobody holds this object any more; there: names of files at the URL; sent: when each
    file of the copy was last changed before it was sent or fetched. A worker to which it is sent has a copy of its own.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.copy = tempfile.TemporaryDirectory(prefix="xai-out-", ignore_cleanup_errors=True)
        self.folder = Path(self.copy.name)
        self.there: set[str] = set()
        self.sent: dict[str, int] = {}
        with self.in_words():
            self.files, self.root = file_system(url)
            self.root = self.root.rstrip("/")

    def __reduce__(self) -> tuple[type[RemoteFolder], tuple[str]]:
        return RemoteFolder, (self.url,)

    @classmethod
    def of(cls, output: str | Path) -> RemoteFolder | None:
        """The remote folder that an output names; None for a folder of this machine. Raises UsageError for a URL without one."""
        if not isinstance(output, str) or not is_url(output) or local_path(output) is not None:
            return None
        refuse_no_folder(output, output.partition("://")[2].strip("/"))
        return cls(output)

    def open(self) -> None:
        """Bring the records and marks that are there, and learn which other files are. Raises InputError."""
        with self.in_words():
            self.files.invalidate_cache()
            # An empty folder of an object store is none at all.
            found = self.files.find(self.root) if self.files.exists(self.root) else []
            self.there = {str(path).removeprefix(self.root).lstrip("/") for path in found}
        self.drop([mark for name in self.there if name.endswith(RECORD) and (mark := self.mark_name(name)) in self.there])
        self.bring([name for name in self.there if name.endswith((RECORD, MARK))])
        alone = [name for name in self.there if name.endswith(PLACES) and not self.has_record(name)]
        # The name of a map has a point in its stem, that of a sheet has none.
        self.bring([name for name in alone if "." not in PurePosixPath(name).stem])
        for name in alone:
            # In the place of a map it is refused, whatever is in it.
            if not is_there(self.folder / name):
                self.place(name, b"")

    def require_writable(self) -> None:
        """Raise InputError now, rather than after hours of work, if nothing can be written there."""
        self.put(PROBE, b"")
        self.drop([PROBE])

    def mark_name(self, record: str) -> str:
        return mark_of(Path(record.removesuffix(RECORD))).as_posix()

    def has_record(self, name: str) -> bool:
        """Whether a file is part of a result with a record: STEM.LABEL.npy, or STEM.LABEL.NAME.npy."""
        path = PurePosixPath(name)
        parts = path.name.split(".")
        stems = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        return any(str(path.with_name(f"{stem}{RECORD}")) in self.there for stem in stems)

    def fetch(self, stem: Path, endings: Iterable[str]) -> None:
        """Bring files of a complete result that are not here. Raises InputError."""
        names = [self.name_of(Path(f"{stem}{ending}")) for ending in endings]
        self.bring([name for name in names if name in self.there and not is_there(self.folder / name)])

    def send(self, stem: Path, endings: Iterable[str], *, keep: bool) -> None:
        """Send what was made of a result; keep: whether all its files stay here, else only its record. Raises InputError."""
        own = [path for path in (Path(f"{stem}{ending}") for ending in endings) if self.is_new(path)]
        if not own:
            return
        record, mark = Path(f"{stem}{RECORD}"), self.name_of(mark_of(stem))
        self.put(mark, b"1")
        # Between the two it must not seem complete.
        self.drop([self.name_of(record)] if self.is_new(record) else [])
        for path in sorted(own, key=lambda path: path == record):
            self.put_file(path)
            if not keep and path != record:
                path.unlink(missing_ok=True)
        self.drop([mark])

    def send_rest(self) -> None:
        """Send all else that is new: a sheet, facts, overlays that were drawn again."""
        left = [path for path in self.folder.rglob("*") if is_file(path) and not path.name.startswith(".") and self.is_new(path)]
        for path in sorted(left, key=lambda path: path.suffix == RECORD):
            self.put_file(path)

    def is_new(self, path: Path) -> bool:
        return is_file(path) and self.sent.get(self.name_of(path)) != path.stat().st_mtime_ns

    def name_of(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def put_file(self, path: Path) -> None:
        changed = path.stat().st_mtime_ns
        self.put(self.name_of(path), read(path, "a file of results", LARGEST))
        self.sent[self.name_of(path)] = changed

    def put(self, name: str, content: bytes) -> None:
        with self.in_words(name):
            # One operation, which object stores do as a whole or not at all.
            self.files.pipe_file(f"{self.root}/{name}", content)
            self.there.add(name)

    def drop(self, names: Iterable[str]) -> None:
        for name in [name for name in names if name in self.there]:
            with self.in_words(name), contextlib.suppress(FileNotFoundError):
                self.files.rm_file(f"{self.root}/{name}")
            self.there.discard(name)

    def bring(self, names: list[str]) -> None:
        for start in range(0, len(names), FETCHED_AT_ONCE):
            part = names[start : start + FETCHED_AT_ONCE]
            with self.in_words(part[0]):
                found = [self.files.cat_file(f"{self.root}/{name}") for name in part]
            for name, content in zip(part, found, strict=True):
                self.place(name, content)

    def place(self, name: str, content: bytes) -> None:
        """Put a file into the copy, as it is at the URL."""
        path = Path(os.path.normpath(self.folder / name))
        if not path.is_relative_to(self.folder):
            raise InputError(f"{self.url}/{name} is no name of a file", hint="Choose another folder with -o.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # The name may be too long for this machine, or also that of a folder, and a disk may be full.
        except OSError as error:
            found = f"{self.url}/{name} cannot be copied to this machine: {(error.strerror or type(error).__name__).lower()}"
            raise InputError(found, hint="Choose another folder with -o.") from error
        self.sent[name] = path.stat().st_mtime_ns

    def shown(self, text: str) -> str:
        """A text with the copy's place replaced by the URL."""
        return text.replace(str(self.folder), self.url)

    @contextmanager
    def in_words(self, name: str = "") -> Iterator[None]:
        """What any file system raises, in one line."""
        where = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except (XaiError, MemoryError):
            raise
        except ImportError as error:
            protocol = self.url.partition("://")[0]
            hint = 'Type: pip install "xaicli[remote]"'
            raise InputError(f"{protocol}:// cannot be reached here: {error}", hint=hint) from error
        # Each file system has exceptions of its own.
        except Exception as error:
            expected = "a folder that can be read and written"
            raise InputError(
                f"{where} cannot be used: {described(error)}", expected=expected, hint="Choose one with -o."
            ) from error

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors that name a file of the copy name the one at the URL."""
        try:
            yield
        except XaiError as error:
            error.found, error.expected, error.hint = map(self.shown, (error.found, error.expected, error.hint))
            error.args = (error.line(),)
            raise


def local_path(url: str) -> Path | None:
    """The folder of this machine that a URL such as file:///maps means; None for one elsewhere."""
    if not url.lower().startswith(("file://", "local://")):
        return None
    refuse_no_folder(url, url.partition("://")[2])
    return Path(file_system(url)[1])


def refuse_no_folder(url: str, place: str) -> None:
    """Raise UsageError for a URL that names no place in its file system: `s3://`."""
    if not place.strip():
        raise UsageError(f"{url} names no folder", expected="a URL such as s3://bucket/maps", hint="Choose one with -o.")


def folder_of(output: str | Path | None, remote: RemoteFolder | None) -> Path:
    """The folder of this machine in which results are made."""
    if remote is not None:
        return remote.folder
    own = local_path(output) if isinstance(output, str) else None
    return own or Path(output or "")
