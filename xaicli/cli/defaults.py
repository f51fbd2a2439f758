"""Defaults that the user has set: `config.toml` in the user's configuration folder, and XAI_* environment variables.

A configuration file in the current folder is never read: a checked-out repository must not change what `xai` does.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.untrusted import is_there, read_text

SETTINGS = {
    "model": "the default --model",
    "device": "cpu, cuda, mps or auto",
    "precision": "fp32, bf16 or auto",
    "engine": "torch, compile, openvino, onnxruntime or auto",
    "offline": "true forbids downloads",
    "colormap": "colours of overlays",
    "output": "the folder that explain writes to",
    "cache": "the folder of downloaded weights",
}
COMMANDS = ("explain", "score", "compare", "audit", "aggregate", "list", "doctor", "train", "bank")
"""Those that take these defaults."""
EXAMPLE = 'A line of it is, for example, model = "resnet50".'
LARGEST = 1_000_000
"""Bytes."""
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


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
    if is_there(path):
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
        known, expected = isinstance(value, str) and bool(value), "text in quotes"
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


def default_map() -> dict[str, Any]:
    """Defaults for the options of every command, in click's form."""
    values = {name: value for name, (value, _) in settings().items() if name != "cache"}
    if isinstance(values.get("offline"), str):
        values["offline"] = values["offline"].lower() in TRUE
    return {} if not values else dict.fromkeys(COMMANDS, values)
