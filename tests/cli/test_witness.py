"""Where Ray ends a command without a word, its parent says so."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xaicli.cli.main import terminate
from xaicli.cli.witness import names_cluster
from xaicli.errors import Terminated

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
START = """
import os, signal, sys, time
from pathlib import Path
from xaicli.cli.witness import witnessed
ended = witnessed(["score", "photos", "--ray", "auto"], "all is kept")
"""
SLEEP = """
def stop(number, frame):
    ended(128 + number)
    os._exit(0)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
Path("pid").write_text(str(os.getpid()))
time.sleep(60)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True)


def sleeping(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A command that sleeps, and its child process."""
    process = subprocess.Popen([sys.executable, "-c", START + SLEEP], cwd=folder, stderr=subprocess.PIPE, text=True)
    note = folder / "pid"
    while not (note.exists() and note.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    return process, int(note.read_text())


def test_an_end_without_a_word_is_one_line_and_no_exit_code_of_the_gate() -> None:
    done = run("os._exit(1)")
    assert done.returncode == 5
    assert done.stderr == (
        "error: Ray ended the command without a word, as it does when its cluster is shut down; all is kept\n"
    )  # fmt: skip


@pytest.mark.parametrize("code", [0, 1, 4])
def test_an_exit_code_of_the_commands_own_stays_although_ray_ends_the_process_while_it_clears_up(code: int) -> None:
    done = run(f"ended({code}); os._exit(1)")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_command_that_was_terminated_says_so_once_although_ray_ends_the_process_while_it_clears_up() -> None:
    code = """
import atexit
from xaicli.cli import main as command
from xaicli.errors import Terminated

def stopped():
    raise Terminated(143)

command.main = stopped
sys.argv = ["xai", "score", "photos", "--ray", "auto"]
atexit.register(os._exit, 1)
command.run()
"""
    done = subprocess.run([sys.executable, "-c", "import os, sys" + code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_a_command_that_is_terminated_twice_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    try:
        for _ in range(2):
            with pytest.raises(Terminated):
                terminate(signal.SIGTERM, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert capsys.readouterr().err.count("error: terminated") == 1


def test_a_command_that_dies_of_a_signal_is_seen_to_have_died_of_it() -> None:
    assert run("os.kill(os.getpid(), signal.SIGABRT)").returncode == -signal.SIGABRT
    assert run("os.kill(os.getpid(), signal.SIGKILL)").returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_once(tmp_path: Path, number: signal.Signals) -> None:
    process, _ = sleeping(tmp_path)
    process.send_signal(number)
    assert process.wait(30) == 128 + number


def is_alive(process: int) -> bool:
    """Whether a process runs; of one that ended and that nobody waited for, the system keeps no command line."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_command_whose_parent_is_killed_dies_too(tmp_path: Path) -> None:
    process, child = sleeping(tmp_path)
    assert is_alive(child)
    process.kill()
    process.wait(30)
    end = time.monotonic() + 30
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_alive(child)


def test_a_command_of_one_machine_has_no_parent_of_its_own() -> None:
    assert names_cluster(["score", "photos", "--ray=auto"])
    assert not names_cluster(["score", "photos", "-o", "--rays.db"])
    done = subprocess.run(
        [sys.executable, "-c", START.replace('"--ray", "auto"', "") + "os._exit(1)"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "")
