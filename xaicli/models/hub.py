"""The Hugging Face hub, where timm and transformers load from: quiet, offline on request, quick to say so without a network."""

from __future__ import annotations

import importlib
import logging
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from xaicli.errors import InputError, XaiError
from xaicli.packages import broken_pair, require

LOGGERS = ("huggingface_hub", "transformers", "timm")
SECONDS = 5.0
"""Seconds without an answer of the hub after which the network counts as absent."""


@contextmanager
def hub(offline: bool, progress: bool) -> Iterator[bool]:
    """Make the hub's clients quiet: no log, bars only if wanted and on a terminal, and no network if offline is requested or the
    hub cannot be reached (they would retry for minutes). Yields whether they are offline. All settings are restored."""
    constants: Any = part("constants")
    bars = part("utils")
    offline = offline or constants.is_offline_mode() or not reachable(constants.ENDPOINT)
    with ExitStack() as stack:
        stack.callback(setattr, constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE)
        constants.HF_HUB_OFFLINE = offline
        for name in LOGGERS:
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        if not (progress and sys.stderr.isatty()) and not bars.are_progress_bars_disabled():
            stack.callback(bars.enable_progress_bars)
            bars.disable_progress_bars()
        # transformers draws its own bars while it reads a file.
        if (transformers := sys.modules.get("transformers")) is not None:
            own = transformers.utils.logging
            if not (progress and sys.stderr.isatty()) and own.is_progress_bar_enabled():
                stack.callback(own.enable_progress_bar)
                own.disable_progress_bar()
        yield offline


def part(name: str) -> ModuleType:
    """A module of huggingface_hub, which imports its modules lazily."""
    require("huggingface_hub", "hf")
    return importlib.import_module(f"huggingface_hub.{name}")


def reachable(endpoint: str) -> bool:
    """Whether something answers at the hub's address; behind a proxy this is assumed."""
    parts = urllib.parse.urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return True
    try:
        with socket.create_connection((host, parts.port or (443 if parts.scheme == "https" else 80)), timeout=SECONDS):
            return True
    except OSError:
        return False


def cannot_load(spec: str, repository: str, error: Exception, *, asked_offline: bool, offline: bool) -> XaiError:
    """The one line for whatever the hub's clients raised."""
    if isinstance(error, XaiError):
        return error
    if pair := broken_pair(error):
        return pair
    constants = part("constants")
    named = {type(cause).__name__ for cause in (error, error.__cause__, error.__context__)}
    if named & {"GatedRepoError"}:
        where = f"{constants.ENDPOINT}/{repository}"
        return InputError(f"{spec} asks for an agreement on the hub", hint=f"Agree at {where}, then type: hf auth login")
    if named & {"RepositoryNotFoundError", "RevisionNotFoundError", "HFValidationError"}:
        return InputError(f"the hub has no {spec}, or it is private", hint="Check its name; if it is private type: hf auth login")
    if offline:
        reason = "--offline forbids the download" if asked_offline else f"{constants.ENDPOINT} cannot be reached"
        return InputError(
            f"{spec} is not on this machine, but {reason}",
            expected=f"it in {expected_folder(repository)}",
            hint="Run once with a network, or give --weights FILE.",
        )
    text = " ".join(str(error).split())[:240] or type(error).__name__
    return InputError(f"{spec} cannot be loaded: {text}")


def expected_folder(repository: str) -> Path:
    """Where the hub's clients keep a repository: HF_HUB_CACHE, else below HF_HOME."""
    folder: str = part("file_download").repo_folder_name(repo_id=repository, repo_type="model")
    return Path(part("constants").HF_HUB_CACHE, folder)
