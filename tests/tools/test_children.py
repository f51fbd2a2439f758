"""What a tool has started does not outlive it, however the tool is told to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.children import child, run

ROOT = Path(__file__).resolve().parents[2]
TOOL = """
import sys
from tools.children import run
from tools.resumable_work import exit_code_of
sys.exit(exit_code_of(lambda: run([sys.executable, "-c", sys.argv[1]])))
"""
PARENT = """
import signal, subprocess, sys, time
from pathlib import Path
own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
def stop(number, frame):
    own.terminate()
    own.wait()
    Path("ended").touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
Path("begun").touch()
time.sleep(100)
"""
"""A process with a child of its own, which it ends when it is asked to end, as torchrun does."""


def wait_for(note: Path, process: subprocess.Popen[str]) -> None:
    while not note.exists():
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
def test_a_tool_that_is_stopped_ends_its_child_which_ends_its_own(
    tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    command = [sys.executable, "-c", TOOL, PARENT]
    with subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True) as tool:
        wait_for(tmp_path / "begun", tool)
        tool.send_signal(number)
        _, told = tool.communicate(timeout=60)
    assert (tool.returncode, told) == (code, f"{said}; the same command goes on from there\n")
    assert (tmp_path / "ended").exists()


def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('begun', 'w').close(); time.sleep(100)"
    with child([sys.executable, "-c", deaf], patience=0.1, cwd=tmp_path) as process:
        wait_for(tmp_path / "begun", process)
    assert process.returncode == -signal.SIGKILL


def test_a_child_that_ends_by_itself_is_left_alone() -> None:
    done = run([sys.executable, "-c", "print('done')"], stdout=subprocess.PIPE)
    assert done.stdout == "done\n"
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_every_tool_that_starts_processes_ends_them() -> None:
    texts = {path.name: path.read_text() for path in (ROOT / "tools").rglob("*.py") if path.name != "children.py"}
    assert [name for name, text in texts.items() if re.search(r"subprocess\.(run|Popen|check_)|os\.(fork|spawn)", text)] == []
    starting = {
        name for name, text in texts.items() if re.search(r"^from tools.children import .*(child|run)|\.Process\(", text, re.M)
    }
    assert {"two_processes.py", "killed_workers.py", "models_tested.py"} <= starting
    assert [name for name in starting if not re.search(r"@stops_raised\(\)|exit_code_of\(", texts[name])] == []
