"""Photos named on a command line: files, folders, globs, lists, standard input and the sample photo."""

from __future__ import annotations

import functools
import glob
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import matplotlib.cbook

from xaicli.claims import holds_copies, is_own_picture
from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.find_elsewhere import is_container, is_url, photos_at_url, photos_in_file
from xaicli.images.names import safe_label, stems, with_names
from xaicli.images.source import Source, content_hash
from xaicli.untrusted import is_file, is_folder, read, readable
from xaicli.words import count

__all__ = ["Source", "content_hash", "find", "safe_label", "stems"]

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".npy", ".npz", ".dcm", ".dicom"}
)
SAMPLES = {"hopper": "grace_hopper.jpg"}

Report = Callable[[InputError], None]


def find(
    arguments: Sequence[str],
    *,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    stdin: BinaryIO | None = None,
    exclude: Collection[Path] = (),
    endings: Collection[str] = ENDINGS,
    on_error: Report | None = None,
) -> list[Source]:
    """Photos in the order of the arguments, each once; those of a folder or glob in natural order (`2.jpg` before `10.jpg`).

    An argument is a file, a folder, a glob, `@list.txt`, `-` or `@-` for paths on standard input, or `sample:hopper`; a file
    with exactly that name comes first. recursive: look into folders of folders; null: paths on standard input end in NUL, not
    in a line break; exclude: folders that are skipped (the output's); endings: of the files in folders and globs that count.
    on_error: called for each error; without it InputError is raised, as it also is if no argument names anything.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} photos", expected="at least 1")
    if frame < 0:
        raise UsageError(f"frame {frame}", expected="0 for the first, or more")
    skipped = frozenset(os.path.realpath(folder) for folder in exclude)
    search = Search(recursive, null, frame, stdin, skipped, on_error, endings)
    found: dict[str, Source] = {}
    for argument in arguments:
        for source in search.argument(argument):
            found.setdefault(os.path.abspath(source.file or source.path), source)
    if not found and not search.failures:
        raise InputError("no photos are named", expected="files, folders, globs, @list.txt, - or sample:hopper")
    return with_names(list(found.values())[:limit])


@dataclass
class Search:
    """One search: its settings, the number of errors, and the folders visited in the current tree."""

    recursive: bool
    null: bool
    frame: int
    stdin: BinaryIO | None
    exclude: frozenset[str]
    on_error: Report | None
    endings: Collection[str] = ENDINGS
    failures: int = 0
    visited: set[tuple[int, int]] = field(default_factory=set)

    def argument(self, argument: str) -> list[Source]:
        """All photos that one argument names; an error is reported to `on_error`, or raised without it."""
        try:
            if argument in ("-", "@-"):
                return self.entries(self.standard_input(), "standard input", None)
            if argument.startswith("@") and not is_photo_file(argument):
                path = Path(argument[1:])
                return self.entries(read_list(path), readable(path), path.parent)
            if argument.startswith("sample:") and not os.path.lexists(argument):
                return [sample(argument, self.frame)]
            if is_url(argument) and not os.path.lexists(argument):
                return photos_at_url(argument, self.frame, self.endings, recursive=self.recursive)
            if glob.has_magic(argument) and "\0" not in argument and not os.path.lexists(argument):
                return self.matches(argument)
            return self.photos_at(Path(argument), argument)
        except InputError as error:
            self.fail(error)
            return []

    def fail(self, error: InputError) -> None:
        if self.on_error is None:
            raise error
        self.failures += 1
        self.on_error(error)

    def photos_at(self, path: Path, text: str) -> list[Source]:
        """A file, or all photos of a folder."""
        status = status_of(path, text)
        if stat.S_ISREG(status.st_mode):
            return self.photos_in(path)
        if not stat.S_ISDIR(status.st_mode):
            raise InputError(f"{readable(path)} is neither a file nor a folder", expected="photos in files")
        failures = self.failures
        photos = self.tree(path)
        if not photos and failures == self.failures:
            hint = "" if self.recursive or not holds_folders(path) else "--recursive looks into its folders."
            raise InputError(f"{readable(path)} holds no photos", expected="files such as .jpg, .png, .webp, .tif", hint=hint)
        return photos

    def photos_in(self, path: Path) -> list[Source]:
        """The photo of a file, or those that a tar shard or a Parquet file holds."""
        if is_container(path.name):
            return photos_in_file(path, self.frame, self.endings, readable(path))
        return [Source.of_file(path, self.frame)]

    def tree(self, folder: Path) -> list[Source]:
        self.visited = set()
        return self.folder(folder)

    def folder(self, folder: Path) -> list[Source]:
        """Photos of a folder in natural order, without hidden files, pictures that xai drew and folders of copies; each folder is
        visited once."""
        try:
            status = os.stat(folder)
            with os.scandir(folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            self.fail(unreadable(readable(folder), error))
            return []
        if (status.st_dev, status.st_ino) in self.visited:
            return []
        self.visited.add((status.st_dev, status.st_ino))
        photos = []
        for entry in sorted(shown, key=lambda entry: natural(entry.name)):
            path = Path(entry.path)
            if is_folder(entry.path):
                if self.recursive and os.path.realpath(path) not in self.exclude and not holds_copies(path):
                    photos += self.folder(path)
            elif path.suffix.lower() in self.endings and not is_own_picture(path):
                photos.append(replace(Source.of_file(path, self.frame), folder=folder))
        return photos

    def matches(self, pattern: str) -> list[Source]:
        """Photos that a glob matches and, with `recursive`, the photos in folders that it matches."""
        paths = [Path(text) for text in sorted(glob.glob(pattern, recursive=True), key=natural)]
        photos = []
        fixed = fixed_folder(pattern)
        copies = functools.cache(holds_copies)
        for path in paths:
            if any(copies(folder) for folder in (path, *path.parents) if fixed in folder.parents):
                continue
            if self.exclude and any(os.path.realpath(parent) in self.exclude for parent in (path, *path.parents)):
                continue
            if is_folder(path):
                photos += self.tree(path) if self.recursive else []
            elif is_container(path.name) or (path.suffix.lower() in self.endings and not is_own_picture(path)):
                photos += self.photos_in(path)
        if not photos:
            found = (
                f"matches {count(len(paths), 'file or folder', 'files or folders')} but no photo" if paths else "matches nothing"
            )
            hint = "--recursive looks into folders." if not self.recursive and any(is_folder(path) for path in paths) else ""
            raise InputError(f"{pattern} {found}", expected="a pattern that matches photos", hint=hint)
        return photos

    def standard_input(self) -> list[tuple[int, bytes]]:
        content = (self.stdin or sys.stdin.buffer).read()
        parts = content.split(b"\0") if self.null else [line.removesuffix(b"\r") for line in content.split(b"\n")]
        entries = [(at, part) for at, part in enumerate(parts, 1) if part]
        if not entries:
            raise InputError("standard input names no photos", expected="one path per line, or paths that end in NUL with -0")
        return entries

    def entries(self, entries: Sequence[tuple[int, bytes]], where: str, folder: Path | None) -> list[Source]:
        """Photos of a list; a relative path starts from the current folder or else from the list's folder."""
        photos = []
        for at, entry in entries:
            text = os.fsdecode(entry)
            path = Path(text)
            if is_url(text) and not os.path.lexists(path):
                photos += photos_at_url(text, self.frame, self.endings, recursive=self.recursive)
                continue
            if folder is not None and "\0" not in text and not os.path.lexists(path) and os.path.lexists(folder / path):
                path = folder / path
            try:
                photos += self.photos_at(path, text)
            except InputError as error:
                self.fail(InputError(f"{where}, line {at}: {error.found}", expected=error.expected, hint=error.hint))
        return photos


def fixed_folder(pattern: str) -> Path:
    """The folder that a glob names before its first wildcard."""
    path = Path(pattern)
    return next((parent for parent in path.parents if not glob.has_magic(str(parent))), Path())


def read_list(path: Path) -> list[tuple[int, bytes]]:
    """The entries of a list of photos with their line numbers, without blank lines and comments (`#`)."""
    content = read(path, "a list of photos, one path per line")
    if b"\0" in content:
        raise InputError(f"{readable(path)} is no list of photos", expected="a text file with one path per line")
    lines = [line.strip() for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    entries = [(at, line) for at, line in enumerate(lines, 1) if line and not line.startswith(b"#")]
    if not entries:
        raise InputError(f"{readable(path)} lists no photos", expected="one path a line")
    return entries


def sample(argument: str, frame: int) -> Source:
    """A photo that ships with a required library, so that a first try needs no photo of one's own."""
    name = argument.removeprefix("sample:")
    if name not in SAMPLES:
        known = ", ".join(f"sample:{known}" for known in SAMPLES)
        raise InputError(f'no sample photo is called "{name}"', expected=known, hint=did_you_mean(name, SAMPLES))
    file = Path(str(matplotlib.cbook.get_sample_data(SAMPLES[name], asfileobj=False)))
    if not is_file(file):
        raise InputError(f"{argument} is missing from this installation of matplotlib", hint="Name a photo of your own.")
    return Source(argument, argument, frame, file)


def status_of(path: Path, text: str) -> os.stat_result:
    """The status of a path; raises InputError that says in words why there is none."""
    if not text or "\0" in text:
        raise InputError("an empty path" if not text else f"{text!r} is no path", expected="a photo")
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        shown = readable(path)
        if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
            raise InputError(f"{text} is a web address", expected="a file on this machine", hint="Download it first.") from error
        if os.path.islink(path):
            target = readable(Path(os.readlink(path)))
            raise InputError(f"{shown} is a link to {target}, which does not exist", expected="a photo") from error
        raise InputError(f"{shown} does not exist", expected="a photo or a folder of photos", hint=nearest(path)) from error
    except OSError as error:
        raise unreadable(readable(path), error) from error


def nearest(path: Path) -> str:
    """The most similar path in that folder, as a question."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    return did_you_mean(readable(path), [readable(path.with_name(name)) for name in names[:10_000]])


def unreadable(shown: str, error: OSError | ValueError) -> InputError:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return InputError(f"{shown} cannot be read: {reason}")


def is_photo_file(argument: str) -> bool:
    return Path(argument).suffix.lower() in ENDINGS and os.path.isfile(argument)


def holds_folders(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(is_folder(entry.path) for entry in entries)
    except OSError:
        return False


def natural(text: str) -> tuple[list[tuple[str, int]], str]:
    """A sort key that orders numbers by value and ignores case; the text itself breaks ties."""
    parts = re.split(r"(\d+)", text.casefold().replace(os.sep, "\0"))
    return [(part, int(number)) for part, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)], text
