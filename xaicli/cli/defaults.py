"""Defaults that the user has set: `config.toml` in the user's configuration folder, and XAI_* environment variables.

A configuration file in the current folder is never read: a checked-out repository must not change what `xai` does.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.offline import FALSE, TRUE
from xaicli.untrusted import is_file, is_folder, read_text

SETTINGS = {
    "model": "the default --model",
    "device": "cpu, cuda, mps or auto",
    "precision": "fp32, bf16 or auto",
    "engine": "torch, compile, openvino, onnxruntime or auto",
    "offline": "true forbids downloads",
    "colormap": "colours of overlays",
    "output": "the folder that explain writes to",
    "cache": "the folder of downloaded weights and installed checkpoints",
}
MODELS = ("explain", "score", "compare", "audit", "aggregate", "list", "doctor", "train", "bank")
"""The commands that open a model of the user's choice. Others are told theirs by a suite, by records, or by their first words."""
COMMANDS = {
    "model": MODELS,
    "device": (*MODELS, "trust", "parity", "verify", "study"),
    "precision": MODELS,
    "engine": MODELS,
    "offline": MODELS,
    "colormap": ("explain",),
    "output": ("explain",),
}
"""The commands whose options take a setting as their default."""
EXPORTED = {"cache": "XAI_CACHE", "offline": "XAI_OFFLINE"}
"""The settings of all that a process does, whatever its command, and the variables by which they reach it."""
EXAMPLE = 'A line of it is, for example, model = "resnet50".'
LARGEST = 1_000_000
"""Bytes."""


def config_path() -> Path:
    """The path of the user's configuration file."""
    base = os.environ.get("XDG_CONFIG_HOME")
    if base:
        return Path(base) / "xaicli" / "config.toml"
    import platformdirs

    return Path(platformdirs.user_config_dir("xaicli")) / "config.toml"


def settings() -> dict[str, tuple[Any, str]]:
    """Each setting that is made, with its source; the environment wins over the file."""
    found: dict[str, tuple[Any, str]] = {}
    path = config_path()
    if is_file(path) or is_folder(path):
        try:
            content = tomllib.loads(read_text(path, "a TOML file of settings", LARGEST))
        except InputError as error:
            raise UsageError(error.found, expected=error.expected, hint=EXAMPLE) from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} cannot be read: {error}", expected="a TOML file of settings", hint=EXAMPLE) from error
        for name, value in content.items():
            if name not in SETTINGS:
                raise UsageError(
                    f'unknown setting "{name}" in {path}',
                    hint=did_you_mean(name, SETTINGS) or f"Settings are {', '.join(SETTINGS)}.",
                )
            require_value(name, value, str(path))
            found[name] = (value, str(path))
    for name in SETTINGS:
        variable = f"XAI_{name.upper()}"
        if os.environ.get(variable):
            require_value(name, os.environ[variable], f"${variable}")
            found[name] = (os.environ[variable], f"${variable}")
    return found


def require_value(name: str, value: Any, place: str) -> None:
    """Raise UsageError, naming the place, for a value that is no text, for `offline` neither true nor false, or for one that the
    option of that name refuses."""
    if name == "offline":
        known = isinstance(value, bool) or (isinstance(value, str) and value.lower() in TRUE + FALSE)
        expected = "true or false"
    else:
        # The environment, into which some settings go, holds no null character.
        known, expected = isinstance(value, str) and bool(value) and "\0" not in value, "text in quotes, without null characters"
    if not known:
        raise UsageError(f"{name} = {value!r} in {place}", expected=expected)
    if name != "offline":
        require_option(name, value, place)


def require_option(name: str, value: str, place: str) -> None:
    """Raise UsageError for a value that the option --NAME of `xai explain`, which has most of them, refuses."""
    # Imported only where something is set, since most users set nothing.
    from xaicli.cli.explain import command

    kind = {option.name: option.type for option in command.params}.get(name, click.STRING)
    found = f"{name} = {value!r} in {place}"
    if isinstance(kind, click.Choice) and value not in kind.choices:
        raise UsageError(found, expected=", ".join(kind.choices), hint=did_you_mean(value, kind.choices))
    try:
        kind.convert(value, None, None)
    except UsageError as error:
        raise UsageError(found, expected=error.expected, hint=error.hint) from error


def default_map() -> dict[str, dict[str, Any]]:
    """Defaults for the options of commands, in click's form."""
    found: dict[str, dict[str, Any]] = {}
    for name, (value, _) in settings().items():
        for command in COMMANDS.get(name, ()):
            found.setdefault(command, {})[name] = is_true(value) if name == "offline" else value
    return found


@contextlib.contextmanager
def exported() -> Iterator[None]:
    """For the time of the `with`, put the settings of the whole process where the package and its children read them."""
    before = {variable: os.environ.get(variable) for variable in EXPORTED.values()}
    for name, (value, _) in settings().items():
        if name in EXPORTED:
            os.environ[EXPORTED[name]] = str(int(is_true(value))) if name == "offline" else value
    try:
        yield
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None) if value is None else os.environ.update({variable: value})


def is_true(value: bool | str) -> bool:
    return value if isinstance(value, bool) else value.lower() in TRUE
