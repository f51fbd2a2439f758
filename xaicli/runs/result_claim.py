"""A lock on one result in a folder, so that one run at a time writes it; a leftover mark shows that a run was killed while
writing."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xaicli.claims import identity_of, is_own
from xaicli.errors import UsageError
from xaicli.files import cannot_write, lock, remove_if_left
from xaicli.untrusted import is_there

ENDINGS = (".npy", ".png", ".json")
HINT = "Choose another folder with -o DIR, or --overwrite it."


def mark_of(stem: Path) -> Path:
    """The mark: a hidden file beside a result while it is written, with a name that every file system accepts."""
    return stem.with_name(f".{hashlib.blake2b(os.fsencode(stem.name), digest_size=8).hexdigest()}.claim")


@dataclass(eq=False)
class ResultClaim:
    """The lock on a result. begun: whether a run that was killed had begun to write it; number: of the open mark."""

    begun: bool
    number: int

    def begin(self) -> None:
        """Mark the files as ours, after it was checked that none of others are in their place."""
        self.begun = True
        with contextlib.suppress(OSError):
            os.write(self.number, b"1")


@contextlib.contextmanager
def claimed(stem: Path) -> Iterator[ResultClaim]:
    """Lock a result, waiting for another run that has it. Raises InputError if the folder cannot be written to."""
    mark = mark_of(stem)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        number = taken(mark)
    except OSError as error:
        raise cannot_write(stem.parent, error) from error
    held = ResultClaim(os.fstat(number).st_size > 0, number)
    try:
        yield held
    finally:
        # If writing failed half-way, the mark stays and says that the files are ours.
        npy, _, sidecar = (Path(f"{stem}{ending}") for ending in ENDINGS)
        if not held.begun or is_there(sidecar) or not os.path.lexists(npy):
            with contextlib.suppress(OSError):
                mark.unlink(missing_ok=True)
        os.close(number)


def taken(mark: Path) -> int:
    """Open and lock the mark; another run may remove it between the two, so try again."""
    while True:
        number = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
        lock(number)
        status = os.fstat(number)
        if identity_of(mark) == (status.st_dev, status.st_ino):
            return number
        os.close(number)


def release(stem: Path) -> None:
    """Remove the mark of a complete result, left by a run that was killed just before it removed it."""
    remove_if_left(mark_of(stem))


def begun_before(stem: Path) -> bool:
    """Whether a run that was killed, or one that works now, has begun a result; asked without its lock."""
    return is_there(mark_of(stem))


def refuse_foreign(stem: Path, *, begun: bool = False) -> None:
    """Raise UsageError if files without a sidecar have the names of a result, and no run of xai began them."""
    npy, png, sidecar = (Path(f"{stem}{ending}") for ending in ENDINGS)
    there = [path for path in (npy, png) if os.path.lexists(path)]
    if not there or begun or is_there(sidecar) or is_own(png):
        return
    raise UsageError(f"{there[0]} exists already, and xai did not write it", hint=HINT)


def refuse_foreign_further(
    stem: Path, endings: Iterable[str], reads: Container[tuple[int, int] | None], *, begun: bool = False
) -> None:
    """Raise UsageError where a further file of a result, such as `STEM.LABEL.NAME.npy`, would replace a file that the run reads,
    or one of others. Which arrays a method gives is known only when it has run. reads: identities of the run's files."""
    ours = begun or is_there(Path(f"{stem}.json"))
    for path in (Path(f"{stem}{ending}") for ending in endings):
        if identity_of(path) in reads:
            raise UsageError(f"{path} is a file that this run reads", hint="Choose another folder with -o DIR.")
        if os.path.lexists(path) and not ours and not is_own(path):
            raise UsageError(f"{path} exists already, and xai did not write it", hint=HINT)


def refuse_foreign_picture(path: Path) -> None:
    """Raise UsageError where a picture beside a result, such as that of its steps, would replace a file of others."""
    if os.path.lexists(path) and not is_own(path):
        raise UsageError(f"{path} exists already, and xai did not write it", hint=HINT)
