"""Commands run as processes of their own, as a terminal starts them, and what they use while they run.

A server with the libraries imported forks one for each command: a kill then meets work rather than imports.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

IMPORTED = ("torch", "torchvision", "safetensors.torch", "scipy.special", "matplotlib.figure", "PIL.Image")
VERBS = ("explain", "score", "baseline", "check", "train", "audit", "aggregate", "augment", "parity", "trust", "bundle")

ESCAPED = 70
"""The code of a command that an exception left."""


class Commands:
    """Starts `xai WORDS`; use as a context manager. preload: a library that is loaded into all of them."""

    def __init__(self, preload: Path | None = None) -> None:
        self.preload = preload

    def __enter__(self) -> Self:
        more = {} if self.preload is None else {"LD_PRELOAD": str(self.preload)}
        self.server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | more,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def start(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        out: str = os.devnull,
        err: str = os.devnull,
        limits: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Command:
        """The command in `folder`; out, err: files that its streams go to; limits: RLIMIT_ names and their values; environment:
        variables set for it."""
        question = {"words": list(words), "folder": str(folder), "out": out, "err": err}
        return Command(self, self.ask(question | {"limits": dict(limits or {}), "environment": dict(environment or {})}))

    def run(self, words: Sequence[str], folder: Path, **how: object) -> int:
        return self.start(words, folder, **how).wait()  # type: ignore[arg-type]

    def ask(self, question: object) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(question), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())


class Command:
    """A command that was started."""

    def __init__(self, commands: Commands, pid: int) -> None:
        self.commands, self.pid = commands, pid
        self.code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, to a command that has not begun once it has; to one that has ended it does nothing, for its process is
        kept until it is waited for."""
        while not self.ended and not catches(self.pid, signal.SIGTERM):
            time.sleep(0.001)
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit code, or the number of the signal that killed it, negative."""
        if self.code is None:
            self.code = self.commands.ask({"wait": self.pid})
        return self.code

    @property
    def ended(self) -> bool:
        return state(self.pid) == "Z"


def fields(pid: int) -> list[str]:
    """What /proc tells of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal by itself."""
    (mask,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def state(pid: int) -> str:
    """R, S, D, T (stopped) or Z (ended)."""
    return fields(pid)[0]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def virtual(pid: int) -> int:
    """Bytes of address space that a process has, which RLIMIT_AS counts."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Files that a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def busy_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    user, system = fields(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """Answer questions, one a line: the id of a process that was started, the code that one ended with."""
    import importlib

    import xaicli

    for name in (*IMPORTED, *(f"xaicli.cli.{verb}" for verb in VERBS)):
        importlib.import_module(name)
    for verb in VERBS:
        # Named once, a function is imported with all that it needs.
        assert callable(getattr(xaicli, verb))
    from xaicli.cli.main import run

    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
        elif not (answer := os.fork()):
            become(question, run)
        print(answer, flush=True)


def become(question: Mapping[str, object], run: Callable[[], None]) -> None:
    """Be the command: a process group of its own, signals, streams and limits as asked, then the console script."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(str(question["folder"]))
    os.environ.update(question["environment"])  # type: ignore[call-overload]
    for stream, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, question["out"], os.O_WRONLY),
        (2, question["err"], os.O_WRONLY),
    ):
        opened = os.open(str(name), flags | (os.O_CREAT | os.O_TRUNC if flags else 0))
        os.dup2(opened, stream)
        os.close(opened)
    for name, most in dict(question["limits"]).items():  # type: ignore[call-overload]
        resource.setrlimit(getattr(resource, name), (most, most))
    sys.argv = ["xai", *question["words"]]  # type: ignore[misc]
    try:
        run()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = ESCAPED
    # What the interpreter does first: threads that write end their files.
    threading._shutdown()  # type: ignore[attr-defined]
    # Without clearing up, which takes longer than the work of a small run, and is the interpreter's.
    os._exit(int(code or 0))


if __name__ == "__main__":
    serve()
