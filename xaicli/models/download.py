"""Downloads into the cache: checked, never half-written, with a progress bar on a terminal."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from xaicli.errors import InputError
from xaicli.files import write_atomic
from xaicli.stamps import sha256_file
from xaicli.untrusted import is_file

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte before a connection counts as lost."""
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z0-9]+$")
"""torchvision's file names end in the first digits of the content's SHA-256."""

Advance = Callable[[int, int | None], None]


class Body(Protocol):
    """A readable response: urllib's, or a test's."""

    headers: http.client.HTTPMessage

    def read(self, amount: int, /) -> bytes: ...


class DownloadError(InputError):
    """A download failed; nothing was kept of it (exit code 3)."""


def expected_hash(name: str) -> str:
    """The first digits of a file's SHA-256 according to its name; empty if the name has none."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else ""


def is_whole(path: Path) -> bool:
    """Whether a file exists and has the hash in its name."""
    return is_file(path) and sha256_file(path).startswith(expected_hash(path.name))


def download(url: str, path: Path, progress: bool = False) -> None:
    """Fetch `url` into `path`, which appears only when it is complete and its hash is right; raises DownloadError.

    The hash is the one in the file's name. progress: show a bar on stderr if that is a terminal.
    """
    try:
        with bar(path.name, progress) as advance:
            write_atomic(path, lambda file: receive(url, path, file, advance))
    except DownloadError:
        raise
    except InputError as error:
        raise InputError(error.found, expected="a cache folder that can be written to", hint="Set XAI_CACHE to one.") from error


def receive(url: str, path: Path, file: BinaryIO, advance: Advance) -> None:
    """Write the content of `url` to `file`, and check its length and hash."""
    host = urllib.parse.urlsplit(url).netloc
    request = urllib.request.Request(url, headers={"User-Agent": "xaicli"})
    hasher = hashlib.sha256()
    done = 0
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            total = content_length(response)
            for block in blocks(response):
                file.write(block)
                hasher.update(block)
                done += len(block)
                advance(done, total)
    except urllib.error.HTTPError as error:
        raise failed(path, f"{host} answered {error.code} {error.reason} for {url}") from error
    except NETWORK_ERRORS as error:
        raise failed(path, f"{host}: {reason_of(error)}") from error
    if total is not None and done != total:
        raise failed(path, f"the connection to {host} broke after {done:,} of {total:,} bytes")
    if not hasher.hexdigest().startswith(expected_hash(path.name)):
        raise failed(path, f"what {host} sent has SHA-256 {hasher.hexdigest()[:8]}…, not {expected_hash(path.name)}")


NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)
"""Errors of a network connection. A full disk is not one of them and is reported as what it is."""


def blocks(response: Body) -> Iterator[bytes]:
    while block := response.read(CHUNK):
        yield block


def content_length(response: Body) -> int | None:
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdecimal() else None


def reason_of(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, socket.gaierror):
        return "its name is not known (no network?)"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection broke after {len(error.partial):,} bytes"
    strerror = getattr(error, "strerror", None)
    return (str(strerror or error) or type(error).__name__).lower()


def failed(path: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{path.name} cannot be downloaded: {reason}", hint=f"Check the network, put the file at {path}, or give --weights FILE."
    )


@contextmanager
def bar(name: str, wanted: bool) -> Iterator[Advance]:
    """A progress bar on stderr, if that is a terminal and a bar is wanted."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"downloading {name}", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
