"""The cluster: reaching it within seconds or saying why not, and how many workers of what size it holds."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import worker

from xaicli.errors import InputError, UsageError, text_of
from xaicli.untrusted import is_file, read_text

LOCAL, AUTO = "local", "auto"
ANSWER_SECONDS = 10.0
"""How long an address may take to answer."""
STORE_BYTES = 200 << 20
"""The object store of a cluster of this process: tables of paths and rows pass through it, never pixels or maps."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Else workers of a cluster of this process yield to all other work of the machine, which a plain run does not.
    "RAY_worker_niceness": "0",
}
ANSWER = b"\0\0\0\4\0\0\0\0\0"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + ANSWER
"""How a client of HTTP/2, on which gRPC runs, begins: the server answers with its settings."""
TOKEN = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what `ray get-auth-token` shows on the cluster's first machine."
HINT = "Type --ray local for this machine alone, or give the HOST:PORT that `ray start --head` printed."


@dataclass(frozen=True)
class Pool:
    """The workers of a run: how many actors, and the processors, GPUs and threads of each."""

    actors: int
    cpus: int
    threads: int
    gpus: int = 0

    @property
    def device(self) -> str:
        """The kind of device on which actors work."""
        return "cuda" if self.gpus else "cpu"

    def words(self) -> str:
        size = "1 GPU" if self.gpus else f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.actors:,} {'actor' if self.actors == 1 else 'actors'} of {size}{'' if self.actors == 1 else ' each'}"


@contextlib.contextmanager
def connected(address: str, actors: int | None, device: str) -> Iterator[Pool]:
    """The pool of a cluster, for as long as the `with` lasts; a cluster that this process was connected to before stays.

    address: `local` starts one on this machine, `auto` finds one that runs here, HOST:PORT names one; actors: how many, None for
    all that fit; device: the device that was asked for. Raises InputError in one line if there is no cluster or if its versions
    are others.
    """
    if ray.is_initialized():
        yield pool_of(nodes(), actors, device)
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    size: dict[str, Any] = {}
    if address == LOCAL:
        # One processor more than the actors take: else Ray waits for ever for one of its own.
        size = {"num_cpus": local_pool(actors).actors + 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    elif (place := named(address)) is not None:
        require_answer(place)
    with ExitStack() as stack:
        stack.enter_context(unprinted())
        stack.callback(ray.shutdown)
        with own_signals(), in_words(address), unseen():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **size)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=r"ray\.")
        yield local_pool(actors, gpus(nodes()), device) if address == LOCAL else pool_of(nodes(), actors, device)


def named(address: str) -> str | None:
    """The HOST:PORT that an address means, None where only Ray can tell."""
    if address != AUTO:
        return address
    if at := os.environ.get("RAY_ADDRESS"):
        return at if at != AUTO else None
    # What `ray start` wrote last; its cluster may be gone.
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    return read_text(note, "an address").strip() or None if is_file(note) else None


def require_answer(address: str) -> None:
    """Raise InputError unless a server of gRPC, as every cluster is, answers at HOST:PORT: Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if found is None:
        raise UsageError(f"--ray {address} is no address", expected="auto, local or HOST:PORT", hint=HINT)
    try:
        with socket.create_connection((found[1], int(found[2])), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(GREETING)
            answer = connection.recv(len(ANSWER))
    except (OSError, OverflowError) as error:
        reason = (
            "it says nothing" if isinstance(error, TimeoutError) else (getattr(error, "strerror", None) or text_of(error)).lower()
        )
        raise InputError(f"no Ray cluster answers at {address} ({reason})", hint=HINT) from error
    if answer[3:4] != ANSWER[3:4]:
        raise InputError(f"no Ray cluster answers at {address} (another server does)", hint=HINT)


@contextlib.contextmanager
def in_words(address: str) -> Iterator[None]:
    """Ray's own errors at connecting, in one line."""
    try:
        yield
    except (ray.exceptions.RayError, RuntimeError, ValueError, AssertionError, OSError) as error:
        where = "on this machine" if address == AUTO else f"at {address}"
        if "AuthenticationError" in "".join(traceback.format_exception(error)):
            raise InputError(f"the Ray cluster {where} asks for its token", hint=TOKEN) from error
        if isinstance(error, ConnectionError):
            raise InputError(f"no Ray cluster runs {where}", hint=HINT) from error
        raise InputError(f"Ray cannot connect to {address}: {reason_of(error)}", hint=HINT) from error


def reason_of(error: BaseException) -> str:
    """The reason in Ray's text: versions that differ, or its first sentence."""
    found = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
    if len(found) == 2:
        (ray_there, python_there), (ray_here, python_here) = found
        return f"the cluster runs Ray {ray_there} on Python {python_there}, this is Ray {ray_here} on Python {python_here}"
    return text_of(error).partition(". ")[0].rstrip(".")


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Ray sets its own handler of SIGTERM when it connects; the command's own is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Keep Ray from printing what went wrong on nodes, which it does on stdout, whatever it is told."""
    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Drop what Ray's C++ code writes to stderr while it connects; its errors are raised too."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def nodes() -> list[dict[str, float]]:
    """The resources of each living node."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def gpus(found: list[dict[str, float]]) -> int:
    return int(sum(node.get("GPU", 0) for node in found))


def pool_of(found: list[dict[str, float]], actors: int | None, device: str) -> Pool:
    """The pool that nodes hold. On a GPU each actor has one; otherwise one processor is left to the driver, and the others are
    shared out among the actors."""
    if gpus(found) and device.partition(":")[0] in ("auto", "cuda"):
        return Pool(actors or gpus(found), 1, 1, 1)
    cpus = sorted((int(node.get("CPU", 0)) for node in found), reverse=True)
    if not sum(cpus):
        raise InputError("the Ray cluster has no processors to give", expected="a node with at least one")
    wanted = actors or max(1, sum(cpus) - 1)
    free = [max(1, cpus[0] - 1), *cpus[1:]] if sum(cpus) > 1 else cpus
    fitting = [each for each in range(1, max(free) + 1) if sum(room // each for room in free) >= wanted]
    each = max(fitting, default=1)
    return Pool(wanted, each, each)


def local_pool(actors: int | None, gpus: int = 0, device: str = "cpu") -> Pool:
    """The pool of this machine, where Ray counts an actor as one processor; actors that are named share all of them."""
    if gpus and device.partition(":")[0] in ("auto", "cuda"):
        return Pool(actors or gpus, 1, 1, 1)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = actors or max(1, cpus - 1)
    return Pool(wanted, 1, max(1, cpus // wanted))
