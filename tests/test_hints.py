"""Every hint in the code can be typed: its commands, options and parameters are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from xaicli.cli.main import COMMANDS, cli
from xaicli.params import fold, parameters
from xaicli.registry import METHODS, METRICS, definition_class, entries

ROOT = Path(__file__).parents[1]
SHOWN = "X"
"""What stands for the parts of a hint that are known only when it is given."""
OTHERS = {"--force-reinstall", "--index-url", "--upgrade"}
"""Options of pip."""
OF_TOOLS = {"python -m tools.bundled_models --data DIR": "tools/bundled_models.py"}


def hints() -> Iterator[tuple[str, str]]:
    """Each hint with the place it stands at."""
    for room in ("xaicli", "methods", "metrics"):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "hint":
                    yield from ((f"{file.relative_to(ROOT)}:{node.value.lineno}", text) for text in texts(node.value))


def texts(node: ast.AST) -> Iterator[str]:
    """The texts of an expression, whichever branch of it is taken."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else SHOWN for part in node.values)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


HINTS = sorted(set(hints()))


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, name
    return found


def options_of(name: str) -> set[str]:
    return {word for parameter in command(name).params for word in (*parameter.opts, *parameter.secondary_opts)}


ALL_OPTIONS = {word for name in COMMANDS for word in options_of(name)} | {"--help", "--version"}


def test_there_are_hints_to_look_at() -> None:
    assert len(HINTS) > 150
    assert any("--trust" in text for _, text in HINTS)


@pytest.mark.parametrize(("place", "text"), HINTS, ids=[place for place, _ in HINTS])
def test_what_a_hint_says_can_be_typed(place: str, text: str) -> None:
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
        assert option in ALL_OPTIONS | OTHERS or any(option in tool for tool in OF_TOOLS), text
    for name, words in re.findall(r"\bxai ([a-z]+)((?: [^.,;()]+)?)", text):
        if name not in COMMANDS:
            assert name == "on", text
            continue
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", words):
            assert option in options_of(name), text
        if name == "list" and (what := words.split()):
            (choice,) = [
                one for one in command("list").params if isinstance(one, click.Argument) and isinstance(one.type, click.Choice)
            ]
            assert what[0] in {*choice.type.choices, f"{SHOWN}s"}, text
    for name, qualifiers in re.findall(r"([\w-]*)((?:@[a-z_]+=[^\s@,;)]*)+)", text):
        for key in re.findall(r"@([a-z_]+)=", qualifiers):
            assert_parameter(name, key, text)


def assert_parameter(name: str, key: str, text: str) -> None:
    """A parameter of that method or metric, or of any where none is named; or of a target or model."""
    if key in ("region", "box", "above", "key", "weights"):
        return
    known = {
        entry.name: {fold(one.name) for one in parameters(definition_class(kind, entry.name))}
        for kind in (METHODS, METRICS)
        for entry in entries(kind)
        if entry.origin == "built in" or not entry.fault
    }
    owners = [name] if name in known else list(known)
    assert name in known or name in ("", SHOWN, "NAME"), text
    assert any(fold(key) in known[owner] for owner in owners), text
