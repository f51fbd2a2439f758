"""A command on a Ray cluster runs in a child process, and its parent says what Ray does not say.

Ray's C++ code ends the driver's process with exit code 1, without a word, once the node that it is on is gone. Nothing in the
same process can prevent it, and exit code 1 belongs to the gate.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence, Set
from typing import NoReturn

FAULT, GATE = 5, 1
"""Exit codes: of what failed while it ran, and of a regression."""
SENT_BY_KERNEL = 0x80
"""`si_code` of a signal of the terminal, which the child was sent too."""
DIE_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of prctl(2)."""


def names_cluster(words: Sequence[str]) -> bool:
    return any(word == "--ray" or word.startswith("--ray=") for word in words)


def witnessed(words: Sequence[str], kept: str) -> Callable[[int], None]:
    """Go on in a child process if the words name a cluster; this one waits for it and ends as it does, and never returns.

    kept: what is said to have become of the results where Ray ended the child. Returns what is called with the exit code when
    the command ends by itself. Without effect on other systems than Linux.
    """
    if not names_cluster(words) or sys.platform != "linux":
        return lambda code: None
    told, tell = os.pipe()
    os.set_blocking(told, False)
    watched = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    parent = os.getpid()
    if child := os.fork():
        os.close(tell)
        wait_for(child, told, watched, kept)
    os.close(told)
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(FAULT)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def say(code: int) -> None:
        with contextlib.suppress(OSError):
            os.write(tell, bytes([code]))

    return say


def wait_for(child: int, told: int, watched: Set[signal.Signals], kept: str) -> NoReturn:
    """Hand signals on to the child until it ends, and end as it did."""
    while True:
        received = signal.sigwaitinfo(watched)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if received.si_signo != signal.SIGCHLD and received.si_code != SENT_BY_KERNEL:
            os.kill(child, received.si_signo)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        die_of(-code)
    with contextlib.suppress(BlockingIOError):
        if own := os.read(told, 1):
            os._exit(own[0])
    if code == GATE:
        code = FAULT
        reason = "Ray ended the command without a word, as it does when its cluster is shut down"
        with contextlib.suppress(OSError):
            os.write(2, f"error: {reason}; {kept}\n".encode())
    os._exit(code)


def die_of(number: int) -> None:
    """End by the signal that ended the child."""
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
