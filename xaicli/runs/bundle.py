"""`xaicli.bundle`: maps, records and scores as evidence in one file."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.images.names import safe_stem
from xaicli.packages import versions
from xaicli.record import Record, load_record
from xaicli.results.store import Store
from xaicli.runs.evidence import no_records, pack, require_there
from xaicli.runs.written_file import WrittenFile
from xaicli.untrusted import is_file, is_folder


def bundle(
    path: str | Path | Sequence[str | Path],
    output: str | Path = "evidence.zip",
    *,
    overwrite: bool = False,
) -> WrittenFile:
    """Write the results of a folder of `xai explain`, or a store of `xai score`, as one zip that `xaicli.verify` reads.

    It holds records, maps and scores, the SHA-256 of each photo (no photo), versions, and the commands. path: one or several;
    overwrite: replace a file that xai did not write. The same results give the same bytes. Raises UsageError, InputError.

        xaicli.bundle("xai-out/", "evidence.zip")
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    members: dict[str, Path] = {}
    photos: dict[tuple[str, int], dict[str, Any]] = {}
    commands: list[str] = []
    for number, one in enumerate(paths):
        require_there(one)
        place = f"{number + 1}" if len(paths) > 1 else ""
        if is_folder(one):
            for record, files in results_in(one):
                members |= {"/".join(filter(None, ("maps", place, name_inside(one, file)))): file for file in files}
                photos[record.photo, record.frame] = photo(record.image, record.photo, record.frame)
                commands.append(record.command)
        else:
            with Store.open(one, write=False) as store:
                for kept in store.photos():
                    photos[kept.content, kept.frame] = photo(kept.paths[0], kept.content, kept.frame)
                commands += [run.command for run in store.runs()]
            members["/".join(filter(None, ("scores", place, f"{safe_stem(one.stem)}.db")))] = one
    if not members:
        raise no_records("bundle", paths)
    claim(Path(output), members.values(), overwrite=overwrite)
    manifest = {
        "photos": list(photos.values()),
        "commands": [one for one in dict.fromkeys(commands) if one],
        "versions": versions(),
        "machine": {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()},
    }
    pack(Path(output), members, manifest)
    return WrittenFile(Path(output), len(members), "file")


def name_inside(folder: Path, file: Path) -> str:
    """The name of a result in the zip; results are called as every system accepts it, their folders are not."""
    *folders, name = file.relative_to(folder).parts
    return "/".join([*map(safe_stem, folders), name])


def photo(image: str, content: str, frame: int) -> dict[str, Any]:
    return {"image": image, "sha256": content, "frame": frame}


def results_in(folder: Path) -> Iterator[tuple[Record, list[Path]]]:
    """Each record in a folder and its folders, with its files: itself, its map, and further arrays; raises InputError for a
    record without its map."""
    for path in sorted(folder.rglob("*.json")):
        stem = path.name.removesuffix(".json")
        arrays = path.with_name(f"{stem}.npy")
        if not (is_file(path) and is_file(arrays)):
            continue
        record = load_record(path)
        yield record, [path, arrays, *(path.with_name(f"{stem}.{name}.npy") for name in record.arrays)]
