"""File names that every system accepts, and distinct stems for photos of the same name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from xaicli.images.elsewhere import Elsewhere
from xaicli.images.source import Source
from xaicli.writable_text import writable

LONGEST_LABEL = 80
LONGEST_STEM = 120
"""Maximum bytes of each part. A file is named STEM.LABEL.TARGET.ending, and most systems accept 255 bytes."""

HASH_DIGITS = 6
NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9.=_+@-]")
NOT_IN_FILE_NAMES = frozenset('<>:"/\\|?*')
RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)


def safe_label(label: str) -> str:
    """A label as part of a file name: ASCII letters, digits and `.=_-+@`; six hash digits follow if that changed or shortened
    it."""
    return marked(label, NOT_IN_LABELS.sub("_", label), LONGEST_LABEL)


def safe_stem(name: str) -> str:
    """One part of a path that every system accepts as the name of a file or folder; six hash digits follow if that changed it."""
    kept = "".join(char if char.isprintable() and char not in NOT_IN_FILE_NAMES else "_" for char in name)
    kept = kept.rstrip(". ") or "_"
    if RESERVED.fullmatch(kept.partition(".")[0].rstrip(" ")):
        kept = f"_{kept}"
    return marked(name, kept, LONGEST_STEM)


def marked(original: str, kept: str, longest: int) -> str:
    """`kept`, shortened to `longest` bytes; if it is not the original, a dash and six digits of the original's hash follow."""
    if kept == original and len(kept.encode()) <= longest:
        return kept
    room = longest - HASH_DIGITS - 1
    cut = kept.encode()[:room].decode("utf-8", "ignore").rstrip(". ")
    return f"{cut}-{short_hash(original)}"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]


def stems(sources: Sequence[Source]) -> dict[Source, str]:
    """An output stem for each source (`cat`), all different, even if case is ignored.

    Photos of the same name keep their endings if these differ (`cat.jpg`, `cat.png`), or else as many of their folders as needed
    (`a/cat`, `b/cat`).
    """
    paths = {source: naming_path(source) for source in sources}
    chosen = {source: path.stem for source, path in paths.items()}
    named: dict[Source, str] = {}
    for group in groups(chosen):
        named.update(told_apart({source: paths[source] for source in group}))
    safe = {source: "/".join(safe_stem(part) for part in name.split("/")) for source, name in named.items()}
    for group in groups(safe):
        for source in group if len(group) > 1 else ():
            safe[source] = f"{safe[source]}-{short_hash(f'{source.path}#{source.frame}')}"
    return {source: safe[source] for source in sources}


def told_apart(paths: dict[Source, PurePath]) -> dict[Source, str]:
    """Stems of photos that share one: with their folders if these differ, with their endings inside one folder."""
    folders = {source: path.parent.parts for source, path in paths.items()}
    depth = depth_needed(set(folders.values()))
    within: dict[tuple[str, ...], list[Source]] = defaultdict(list)
    for source, folder in folders.items():
        within[folder].append(source)
    names = {}
    for folder, members in within.items():
        for source in members:
            own = paths[source].stem if len(members) == 1 else paths[source].name
            kept = [part for part in folder[len(folder) - depth :] if part not in ("/", "\\")]
            names[source] = "/".join([*(part.replace("/", "_") for part in kept), own])
    return names


def depth_needed(folders: Iterable[tuple[str, ...]]) -> int:
    """How many folders, counted from the last, are needed to distinguish all of these."""
    distinct = set(folders)
    if len(distinct) < 2:
        return 0
    deepest = max(len(folder) for folder in distinct)
    return next(depth for depth in range(1, deepest + 1) if len({folder[-depth:] for folder in distinct}) == len(distinct))


def with_names(sources: Sequence[Source]) -> list[Source]:
    """The sources with the names that tables show: the file's name, preceded by as many folders as needed to distinguish equal
    names."""
    files = {source: naming_path(source) for source in sources if has_place(source) and not is_sample(source)}
    named = {}
    for group in groups({source: path.name for source, path in files.items()}):
        depth = depth_needed(files[source].parent.parts for source in group)
        for source in group:
            name = "/".join(files[source].parts[-depth - 1 :]).replace("//", "/")
            # A file's name may hold anything, even terminal commands.
            named[source] = replace(source, name="".join(char if char.isprintable() else "\ufffd" for char in writable(name)))
    return [named.get(source, source) for source in sources]


def groups(names: dict[Source, str]) -> list[list[Source]]:
    """Groups of sources whose names are the same on a system that ignores case and Unicode form."""
    same: dict[str, list[Source]] = defaultdict(list)
    for source, name in names.items():
        same[unicodedata.normalize("NFC", name).casefold()].append(source)
    return list(same.values())


def naming_path(source: Source) -> PurePath:
    """The path from which names are made: absolute, so that `../a/cat.jpg` has a folder `a`."""
    if is_sample(source):
        return PurePath("sample", source.path.removeprefix("sample:"))
    return Path(os.path.abspath(source.path))


def has_place(source: Source) -> bool:
    """Whether a photo is a file, here or elsewhere, and not in memory."""
    return source.file is not None or isinstance(source.memory, Elsewhere)


def is_sample(source: Source) -> bool:
    return source.path.startswith("sample:") and source.name == source.path
