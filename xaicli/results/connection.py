"""Opening a store's file: checking that it is ours, choosing its journal, and SQLite's errors in words."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from xaicli.errors import InputError
from xaicli.results import checksums, schema
from xaicli.untrusted import is_folder, is_there, size_of, status_of

logger = logging.getLogger(__name__)

BUSY_SECONDS = 60.0
ATTEMPTS = 3
BETWEEN_ATTEMPTS = 0.05
"""How often, and up to how many seconds apart, the log is cleared up where another process seemed to use it."""
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "fuse.sshfs")
"""File systems of a network. WAL needs memory shared between processes, which machines do not share."""


ELSEWHERE, WRITES_ONE = "Choose another name with -o.", "xai score PHOTOS -o STORE.db writes one."


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to the store at `path`, of the newest schema; `write` creates or upgrades the file if needed.

    Raises InputError if it is not a store, has a newer schema, is missing (when read), or if the folder, file or disk refuses.
    """
    if not write and not is_there(path):
        raise InputError(f"{path} is not there", expected="a store", hint=WRITES_ONE)
    if is_folder(path):
        raise no_file(path, write=write)
    if is_there(path):
        # On a pipe, SQLite would wait forever.
        status_of(path, "a store")
    with plain_faults(path, write=write):
        connection = open_file(path, write=write)
        try:
            settle(connection)
            refuse_strangers(path, connection, write=write)
            older = 0 < schema.version(connection) < len(schema.STEPS)
            if older:
                look_through(path, connection, write=write)
            if write:
                choose_journal(path, connection)
                schema.migrate(connection)
            elif older:
                connection = upgraded_copy(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def no_file(folder: Path, *, write: bool) -> InputError:
    """The error for a folder in place of a store, with a store's name to type."""
    hint = f"Try -o {folder / 'scores.db'}." if write else store_in(folder)
    return InputError(f"{folder} is a folder", expected="the name of a store's file", hint=hint)


def other(write: bool) -> str:
    """What to do about a file that is no store of ours, where it is written and where it is read."""
    return ELSEWHERE if write else WRITES_ONE


def store_in(folder: Path) -> str:
    """A hint for a folder named as a store: the first store in it, or what writes one."""
    return next((f"Name the store in it: {path}." for path in sorted(folder.glob("*.db"))), WRITES_ONE)


def in_memory() -> sqlite3.Connection:
    """A store in memory: for scores that go to stdout alone."""
    return new(":memory:")


def temporary() -> sqlite3.Connection:
    """A store in a file without a name, which SQLite removes: for more rows than memory holds."""
    return new("")


def new(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, isolation_level=None)
    settle(connection)
    schema.migrate(connection)
    return connection


def open_file(path: Path, *, write: bool) -> sqlite3.Connection:
    name = f"file:{quote(os.fsencode(path.absolute()))}"
    if write:
        return sqlite3.connect(f"{name}?mode=rwc", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        return reader(name, "mode=ro")
    except sqlite3.OperationalError as error:
        beside = [path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-journal")]
        unfinished = any(size_of(log) for log in beside)
        may_write = os.access(path.parent, os.W_OK)
        if "readonly" in str(error) and (may_write or unfinished):
            # A writer was killed: its unfinished transaction must be rolled back before anyone reads, which mode=ro cannot do.
            take_back(path, name)
            return reader(name, "mode=ro")
        if may_write or unfinished:
            raise
        # In a read-only folder, a store in WAL mode can be read only while nobody writes to it.
        return reader(name, "immutable=1")


def reader(name: str, how: str) -> sqlite3.Connection:
    """A connection that has read once: only then does SQLite look at the journal beside the file."""
    connection = sqlite3.connect(f"{name}?{how}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except BaseException:
        connection.close()
        raise
    return connection


def take_back(path: Path, name: str) -> None:
    """Roll back the transaction of a killed writer, which SQLite does for anyone who may write; raises InputError if we may
    not."""
    try:
        reader(name, "mode=rw").close()
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        raise InputError(
            f"{path} was left in the middle of a write, and this user may not write to it",
            expected="to be opened once by someone who may write to it",
            hint="Have its owner run any command of xai on it, or copy it with the files beside it.",
        ) from error


def settle(connection: sqlite3.Connection) -> None:
    """Settings of every connection: temporary tables in memory, and no code from a file's schema is run."""
    for setting in ("temp_store = MEMORY", "trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def refuse_strangers(path: Path, connection: sqlite3.Connection, *, write: bool) -> None:
    """Raise InputError unless the file is a store of a schema known here, or a new one about to be written."""
    if schema.is_empty(connection):
        if write and not schema.application(connection):
            return
        raise InputError(f"{path} is empty", expected="a store", hint=WRITES_ONE)
    if schema.application(connection) != schema.APPLICATION_ID:
        raise InputError(f"{path} is a database of another application", expected="a store written by xai", hint=other(write))
    found = schema.version(connection)
    if found > len(schema.STEPS):
        raise InputError(
            f"{path} was written by a newer xaicli (schema {found})",
            expected=f"schema {len(schema.STEPS)} or older",
            hint=f"Upgrade xaicli{', or choose another name with -o' if write else ''}.",
        )
    foreign = schema.foreign_objects(connection)
    if foreign:
        raise InputError(f'{path} holds "{foreign[0]}", a trigger or view', expected="a store as xai writes it: tables alone")


def look_through(path: Path, connection: sqlite3.Connection, *, write: bool) -> None:
    """Find damage in an older store before it is upgraded and gets new checksums; say where it has none that would tell."""
    if schema.version(connection) >= schema.WITH_CHECKSUMS:
        checksums.require_intact(connection)
    else:
        checksums.require_structure(connection)
        tell_of_older(path, write=write)


@functools.cache
def tell_of_older(path: Path, *, write: bool) -> None:
    """Say it once a process."""
    then = "They are added now" if write else "The next run that writes to it adds them"
    logger.warning("%s has no checksums: a value that was damaged before is read as it stands. %s.", path, then)


def choose_journal(path: Path, connection: sqlite3.Connection) -> None:
    """Choose WAL if the file system allows it, else a rollback journal; with either, a killed process loses nothing that was
    committed."""
    wanted = "DELETE" if on_network(path) else "WAL"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # The busy time-out does not cover this switch, and two processes may want it at once.
            if is_busy(error) and time.monotonic() < deadline:
                time.sleep(0.02)
            elif wanted == "WAL" and not is_busy(error):
                wanted = "DELETE"
            else:
                raise
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")


def close(connection: sqlite3.Connection, written: Path | None = None) -> None:
    """Close. The last writer leaves one file without a log beside it, which can be read in a read-only folder.

    written: the file of a connection that may write.
    """
    give_up_log(connection)
    for _ in range(ATTEMPTS):
        if written is None or not any(is_there(written.with_name(f"{written.name}{ending}")) for ending in ("-wal", "-shm")):
            return
        # Two that close at the same moment each take the other for a writer that goes on, and neither clears up.
        time.sleep(random.uniform(0, BETWEEN_ATTEMPTS))
        with contextlib.suppress(sqlite3.Error):
            give_up_log(open_file(written, write=True))


def give_up_log(connection: sqlite3.Connection) -> None:
    """Close, with the log moved into the file unless another connection still uses it."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def on_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether the file lies on a network file system, as far as the operating system tells."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
        place = path.parent.resolve()
    except OSError:
        return False
    points = [(line.split()[1].replace("\\040", " "), line.split()[2]) for line in lines if len(line.split()) > 2]
    around = [(len(point), kind) for point, kind in points if place.is_relative_to(point)]
    return bool(around) and max(around, key=lambda entry: entry[0])[1] in NETWORK_FILE_SYSTEMS


def upgraded_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """An older store, read through an upgraded copy in memory; the file is not changed."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    connection.close()
    settle(copy)
    schema.migrate(copy)
    return copy


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several queries see the same state, even if another process writes meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def listed(keys: Iterable[int]) -> str:
    """Ids as SQL text: they are our own integers, and there may be more than a statement accepts as parameters."""
    return ",".join(str(int(key)) for key in keys)


def is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


@contextlib.contextmanager
def plain_faults(path: Path | str, *, write: bool = True) -> Iterator[None]:
    """Turn SQLite's faults into one InputError that says what to do; write: whether the path is what -o names."""
    try:
        yield
    except sqlite3.Error as error:
        raise in_words(path, error, write=write) from error
    except UnicodeDecodeError as error:
        # SQLite quotes a damaged schema in its message, which then cannot be decoded.
        raise in_words(path, sqlite3.DatabaseError("its schema is not text"), write=write) from error


def in_words(path: Path | str, error: sqlite3.Error, *, write: bool) -> InputError:
    text = str(error)
    if "not a database" in text:
        return InputError(f"{path} is not a store", expected="an SQLite file written by xai", hint=other(write))
    if is_busy(error):
        found = f"{path} stayed locked for {BUSY_SECONDS:g} s"
        return InputError(found, expected="that the other process finishes", hint="Run again: it does only what is missing.")
    if "readonly" in text:
        return InputError(f"{path} cannot be written: read-only", expected="a file that can be written to", hint=ELSEWHERE)
    if "full" in text:
        return InputError(f"{path} cannot grow: the disk is full", hint="What was finished is kept; make room and run again.")
    if "disk I/O error" in text:
        found = f"{path} cannot be written or read ({text}): a full disk, a limit on file sizes, or a medium that fails"
        return InputError(found, hint="What was finished is kept; make room and run again.")
    if "unable to open" in text:
        return cannot_open(path)
    copy = "Take a copy from before, or score again into another store (-o)."
    return InputError(f"{path} is damaged or cannot be read ({text})", expected="a store written by xai", hint=copy)


def cannot_open(path: Path | str) -> InputError:
    return InputError(f"{path} cannot be opened", expected="an existing folder and a file that may be read and written")
