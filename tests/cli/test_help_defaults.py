"""The default that `--help` shows of an option is the one that is used."""

from __future__ import annotations

import re

import click
import pytest

from xaicli.cli.main import COMMANDS, cli
from xaicli.images.view import View
from xaicli.models.catalogue import DEFAULT

SAID = re.compile(r"\[default: ([^\]]*?)\]")
OPEN = (None, (), "")
"""Values of options that were not given: what happens then is said in words."""
OWN = {
    "--model": DEFAULT,
    "--input-scale": f"{View().scale:g}",
    "--input-order": View().order,
    "--frame-step": str(View().frame_step),
}
OF_SUITES = ("baseline", "check")
"""Commands that take the suite's model where none is given."""


def options() -> list[tuple[str, click.Option]]:
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found += [(name, one) for one in command.params if isinstance(one, click.Option)]
    return found


EACH = options()


def value_of(name: str, option: click.Option) -> object:
    """What an option is where it is not given."""
    context = click.Context(cli.get_command(click.Context(cli), name), info_name=name)
    return option.get_default(context)


def shown(name: str, option: click.Option) -> str:
    """The default that help shows, in its own words; empty where it shows none."""
    context = click.Context(cli.get_command(click.Context(cli), name), info_name=name, max_content_width=400)
    record = option.get_help_record(context)
    match = SAID.search(" ".join(record[1].split())) if record else None
    return match[1] if match else ""


@pytest.mark.parametrize(("name", "option"), EACH, ids=[f"{name} {option.opts[0]}" for name, option in EACH])
def test_the_default_that_is_shown_is_the_one_that_is_used(name: str, option: click.Option) -> None:
    said, value = shown(name, option).partition(";")[0].strip(), value_of(name, option)
    if name not in OF_SUITES and option.opts[0] in OWN:
        assert said == OWN[option.opts[0]]
        return
    given = not any(value is one or (value == one and value != 0) for one in OPEN) and "UNSET" not in repr(value).upper()
    if given and not option.is_flag and not option.hidden:
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        assert text in said or said in text, (said, value)
    if said and re.fullmatch(r"[0-9.]+", said):
        assert given
        assert float(said) == float(str(value))
