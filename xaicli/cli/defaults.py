"""Defaults that the user has set: `config.toml` in the user's configuration folder, and XAI_* environment variables.

A configuration file in the current folder is never read: a checked-out repository must not change what `xai` does.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.untrusted import is_file, read_text

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
    if is_file(path):
        try:
            content = tomllib.loads(read_text(path, "a TOML file of settings", LARGEST))
        except (InputError, ValueError, RecursionError) as error:
            raise UsageError(
                f"{path} cannot be read: {error}", expected="a TOML file of settings", hint="See xai config show."
            ) from error
        for name, value in content.items():
            if name not in SETTINGS:
                raise UsageError(
                    f'unknown setting "{name}" in {path}',
                    hint=did_you_mean(name, SETTINGS) or "See xai config show.",
                )
            require_kind(name, value, str(path))
            found[name] = (value, str(path))
    for name in SETTINGS:
        variable = f"XAI_{name.upper()}"
        if os.environ.get(variable):
            require_kind(name, os.environ[variable], f"${variable}")
            found[name] = (os.environ[variable], f"${variable}")
    return found


def require_kind(name: str, value: Any, place: str) -> None:
    """Raise UsageError for a value that is no text, or for `offline` neither true nor false."""
    if name == "offline":
        known = isinstance(value, bool) or (isinstance(value, str) and value.lower() in TRUE + FALSE)
        expected = "true or false"
    else:
        known, expected = isinstance(value, str) and bool(value), "text in quotes"
    if not known:
        raise UsageError(f"{name} = {value!r} in {place}", expected=expected)


def default_map() -> dict[str, Any]:
    """Defaults for the options of every command, in click's form."""
    values = {name: value for name, (value, _) in settings().items() if name != "cache"}
    if isinstance(values.get("offline"), str):
        values["offline"] = values["offline"].lower() in TRUE
    return {} if not values else dict.fromkeys(COMMANDS, values)
