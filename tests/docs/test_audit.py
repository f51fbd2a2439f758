"""docs/audit.md names commands, options and pictures that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from xaicli.cli.main import cli

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "audit.md").read_text("utf-8")


def test_every_command_on_the_page_can_be_typed() -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    lines = [line.partition("#")[0] for line in blocks.splitlines() if line.startswith("xai ")]
    assert len(lines) >= 4
    for line in lines:
        _, name, *words = shlex.split(line)
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_the_table_of_copies_names_options_and_their_values() -> None:
    command = cli.get_command(click.Context(cli), "augment")
    assert command is not None
    choices = {word for one in command.params if isinstance(one.type, click.Choice) for word in one.type.choices}
    for _, value in re.findall(r"`(--region|--fill) (\w+)`", PAGE):
        assert value in choices


def test_the_pictures_of_the_page_are_there_and_small() -> None:
    pictures = re.findall(r"\]\((pictures/[^)]+)\)", PAGE)
    assert len(pictures) == 4
    assert all((DOCS / picture).stat().st_size < 50_000 for picture in pictures)
