"""A stop while the command's modules are imported, before it could begin anything."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xaicli

STOPPED = """
import signal, sys

class Stopped:
    def find_spec(self, name, *rest):
        if name == "xaicli.cli.main":
            signal.raise_signal(signal.{name})

{before}
sys.meta_path.insert(0, Stopped())
import xaicli.cli.start
print("goes on")
"""


@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")], ids=["SIGINT", "SIGTERM"]
)
def test_a_stop_during_imports_is_one_line_with_the_exit_code_of_any_other(name: str, code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED.format(name=name, before="")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"error: {said} before the command began\n")


def test_an_interrupt_that_the_shell_has_ignored_stays_ignored() -> None:
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    code = STOPPED.format(name="SIGINT", before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


def test_the_command_starts_there() -> None:
    project = Path(xaicli.__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["scripts"] == {"xai": "xaicli.cli.start:run"}


def test_started_so_the_command_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "xaicli.cli.start", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("xai ")
