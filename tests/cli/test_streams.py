"""stdout and stderr that are full, closed, or read by nobody: never exit code 1, which is the gate's, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

XAI = f"{sys.executable} -m xaicli.cli.main"
FULL = Path("/dev/full")
COMMANDS = {"results": "list methods", "help": "--help", "wrong": "explain", "both": "config"}


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
        check=False,
    )


def assert_words(err: str) -> None:
    for word in ("Traceback", "fault in xai itself", "Exception ignored"):
        assert word not in err


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_reader_that_goes_away_changes_no_exit_code(command: str, tmp_path: Path) -> None:
    usual = shell(f"{XAI} {command} | cat", tmp_path).returncode
    done = shell(f"{XAI} {command} | true", tmp_path)
    assert done.returncode == usual
    assert_words(done.stderr)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_for_a_reader_that_goes_away_or_a_full_disk_end_in_words(form: str, tmp_path: Path) -> None:
    scored = f"{XAI} score sample:hopper --method center --metric sparseness --no-controls -o s.db -q"
    assert shell(scored, tmp_path).returncode == 0
    done = shell(f"{XAI} export s.db --format {form} | head -c 1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if FULL.exists():
        done = shell(f"{XAI} export s.db --format {form} > /dev/full", tmp_path)
        assert done.returncode == 3
        assert done.stderr.startswith("error: stdout cannot be written: ")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_stderr_changes_no_exit_code(command: str, tmp_path: Path) -> None:
    usual = shell(f"{XAI} {command}", tmp_path)
    done = shell(f"{XAI} {command} 2> /dev/full", tmp_path)
    assert (done.returncode, done.stdout) == (usual.returncode, usual.stdout)


@pytest.mark.parametrize("to", ["> /dev/full", ">&-"])
def test_results_that_cannot_be_written_are_an_output_that_cannot_be_used(to: str, tmp_path: Path) -> None:
    done = shell(f"{XAI} list methods {to}", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("error: stdout cannot be written: ")
    assert_words(done.stderr)


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "2>&- <&-"])
def test_a_closed_stream_that_is_not_needed_changes_nothing(closed: str, tmp_path: Path) -> None:
    usual = shell(f"{XAI} list methods", tmp_path)
    done = shell(f"{XAI} list methods {closed}", tmp_path)
    assert (done.returncode, done.stdout) == (0, usual.stdout)


def test_a_file_opened_later_never_stands_in_for_a_closed_stdout(tmp_path: Path) -> None:
    """Descriptor 1 is the first free one where stdout is closed: what is printed must not end up in a file of results."""
    code = (
        "import os, sys; from xaicli.cli.streams import set_up_streams; set_up_streams(); "
        "print(os.open('f', os.O_CREAT), file=sys.stderr)"
    )
    done = shell(f'{sys.executable} -c "{code}" >&-', tmp_path)
    assert int(done.stderr) > 2


INTERRUPTED = """
import atexit, os, signal
from xaicli.cli import main
atexit.register(lambda: os.kill(os.getpid(), signal.{signal}))
main.main = lambda: 4
main.run()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_nothing_interrupts_a_command_that_has_ended(name, tmp_path):
    """The interpreter takes a second to clear up; an interrupt then would replace the exit code."""
    script = INTERRUPTED.format(signal=name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stderr) == (4, "")


@pytest.mark.skipif(sys.platform == "darwin", reason="every file name is text there")
def test_a_folder_whose_name_is_no_text_is_spelled_by_its_bytes(tmp_path: Path) -> None:
    line = f"{XAI} explain sample:hopper --method center --format FORM -o $'caf\\xe9'"
    done = shell(line.replace("FORM", "table"), tmp_path)
    assert done.returncode == 0
    assert "caf\\xe9/" in done.stdout.replace("\n", "")
    assert "caf\\xe9/" in done.stderr
    assert "udce9" not in done.stdout + done.stderr
    [row] = json.loads(shell(line.replace("FORM", "json"), tmp_path).stdout)
    assert (tmp_path / row["map"]).is_file()
