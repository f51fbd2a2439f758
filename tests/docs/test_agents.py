"""llms.txt and the page for coding agents: links lead somewhere, commands and options exist, JSON has the keys named."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from xaicli.cli.main import COMMANDS, cli, main

ROOT = Path(__file__).resolve().parents[2]
LIST, PAGE = ROOT / "llms.txt", ROOT / "docs" / "agents.md"
COMMAND_LINES = sorted(set(re.findall(r"`(xai [^`]+)`", PAGE.read_text() + LIST.read_text())))


def test_every_link_leads_to_a_page():
    for page in (LIST, PAGE):
        links = re.findall(r"\]\(([^)#]+)", page.read_text())
        assert links
        assert not [link for link in links if not (page.parent / link).is_file()]


def test_the_list_has_the_form_of_llms_txt():
    lines = LIST.read_text().splitlines()
    assert lines[0] == "# xaicli"
    assert lines[2].startswith("> ")
    assert [line for line in lines if line.startswith("## ")][-1] == "## Optional"


def test_every_page_of_the_docs_that_a_user_reads_is_listed():
    listed = LIST.read_text()
    for page in ("methods", "models-and-targets", "scores", "ci", "trust", "training", "detectors", "channels"):
        assert f"docs/{page}.md" in listed


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_and_option_that_is_named_exists(line):
    _, verb, *words = shlex.split(line)
    assert verb in COMMANDS
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        return
    assert {word for word in words if word.startswith("-")} <= known


def test_exit_codes_are_those_of_the_command():
    assert re.findall(r"^\| (\d) \|", PAGE.read_text(), re.MULTILINE) == ["0", "1", "2", "3", "4", "5"]


def test_the_json_of_explain_has_the_keys_that_the_page_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "sample:hopper", "--format", "json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    sentence = next(line for line in PAGE.read_text().splitlines() if line.startswith("- `xai explain --format json`"))
    named = re.findall(r"`([a-z]+)`", sentence)
    assert named == ["image", "decision", "p", "method", "map"]
    assert set(named) <= set(row)
