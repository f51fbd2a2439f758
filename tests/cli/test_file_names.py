"""Completion of file names beside commands, options and values, in a bash that someone types into."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from xaicli.cli.main import COMMANDS, cli

TYPED = {
    "explain ph": "explain photos/",
    "explain photos/ca": "explain photos/cat.jpg",
    "score x -o fo": "score x -o folder/",
    "score x --output=fo": "score x --output=folder/",
    "explain --model ne": "explain --model net.py",
    "explain --weights ne": "explain --weights net.py",
    "bundle fo": "bundle folder/",
    "expl": "explain",
    "explain --keep": "explain --keep-going",
    "explain --model resnet15": "explain --model resnet152",
    "explain --method occl": "explain --method occlusion",
    "explain --format mark": "explain --format markdown",
}
"""What is typed before the Tab, and what stands there after it."""


def version_of_bash() -> tuple[int, ...]:
    if sys.platform == "win32" or shutil.which("bash") is None:
        return (0,)
    told = subprocess.run(["bash", "-c", "echo $BASH_VERSION"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", told)[:2])


@pytest.mark.skipif(version_of_bash() < (4, 4), reason="completion needs bash 4.4")
def test_bash_completes_file_names_and_words(tmp_path: Path) -> None:
    work, programs = tmp_path / "work", tmp_path / "bin"
    (work / "photos").mkdir(parents=True)
    (work / "folder").mkdir()
    programs.mkdir()
    (work / "photos" / "cat.jpg").touch()
    (work / "net.py").touch()
    (programs / "xai").write_text(f'#!/bin/sh\nexec {sys.executable} -m xaicli.cli.main "$@"\n')
    (programs / "xai").chmod(0o755)
    # The function shows the completed words once the line is entered; the completion itself runs the program.
    lines = ['eval "$(xai completion bash)"', 'xai() { echo "typed: $*"; }', *(f"xai {words}\t" for words in TYPED), "exit", ""]
    assert typed_into_bash("\n".join(lines), work, programs) == list(TYPED.values())


def typed_into_bash(text: str, folder: Path, programs: Path) -> list[str]:
    """Type a text into a bash with a terminal, and return what its function `xai` was given."""
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb", "INPUTRC": os.devnull}
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
        start_new_session=True,
    ) as bash:
        os.close(follower)
        os.write(leader, text.encode())
        shown = b""
        try:
            while part := os.read(leader, 4096):
                shown += part
        except OSError:
            # So Linux says that nobody has the terminal open any more.
            pass
        os.close(leader)
    assert bash.returncode == 0
    return [line.strip() for line in re.findall(r"^typed: (.*)$", shown.decode(), re.MULTILINE)]


@pytest.mark.parametrize("name", COMMANDS)
def test_free_text_that_is_no_word_of_ours_is_completed_as_a_file_name(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = click.Context(command)
    for parameter in command.params:
        if isinstance(parameter.type, click.types.StringParamType | click.Path):
            assert [item.type for item in parameter.shell_complete(context, "no-such-word")] == ["file"], parameter.name
