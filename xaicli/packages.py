"""Installed packages: versions, optional packages, and torch and torchvision that do not fit each other.

Nothing here imports torch, so that versions can be reported even if torch is broken.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from xaicli.errors import InputError, text_of

DECISIVE = ("xaicli", "torch", "torchvision", "numpy", "pillow")
"""Packages on which results depend."""
BROKEN_PAIR = re.compile(
    r"torchvision::\w+ does not exist"
    r"|partially initialized module 'torchvision'"
    r"|Couldn't load custom C\+\+ ops"
    r"|torchvision.*undefined symbol|undefined symbol.*torchvision",
    re.DOTALL,
)


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is absent; the package is not imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def versions() -> dict[str, str]:
    """Versions by name of the packages on which results depend; of xaicli in a checkout that was never installed, `checkout`."""
    return {name: version_of(name) or "checkout" for name in DECISIVE}


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package; raises InputError, which names the extra, if it is absent or broken."""
    install = f'Type: pip install "xaicli[{extra}]"'
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed", hint=install)
    with whole_installation():
        try:
            return importlib.import_module(package)
        except ImportError as error:
            if broken_pair(error):
                raise
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{package} {version_of(package)} cannot be imported: {reason}", hint=f"{install} --upgrade"
            ) from error


def import_torchvision() -> ModuleType:
    """Import torchvision; raises InputError that says which torch and torchvision do not fit and what to install."""
    with whole_installation():
        return importlib.import_module("torchvision")


@contextmanager
def whole_installation() -> Iterator[None]:
    """Turn the many errors of a torchvision that does not fit its torch, wherever it is imported, into one InputError."""
    try:
        yield
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        pair = broken_pair(error)
        if pair is None:
            raise
        raise pair from error


def broken_pair(error: BaseException) -> InputError | None:
    """The InputError for `error` if it, or one of its causes, shows that torch and torchvision do not fit; None for any other
    error."""
    reason = next((found[0] for cause in chain(error) if (found := BROKEN_PAIR.search(text_of(cause)))), None)
    if reason is None:
        return None
    torch, torchvision, wanted = version_of("torch"), version_of("torchvision"), pinned_torch()
    if wanted and torch and wanted != torch.partition("+")[0]:
        expected = f"torch {wanted}, which torchvision {torchvision} is built for"
    else:
        expected = "both of one build (CPU-only or CUDA)"
    return InputError(
        f"torchvision {torchvision} does not fit torch {torch} ({reason})",
        expected=expected,
        hint="Install the two together, from where torch came: pip install --force-reinstall torch torchvision "
        "(for the CPU-only build with its --index-url, see the README).",
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and its contexts."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        at = waiting.pop()
        if at is not None and id(at) not in seen:
            seen.add(id(at))
            yield at
            waiting += [at.__cause__, at.__context__]


def pinned_torch() -> str | None:
    """The version of torch that the installed torchvision requires, None if it names none."""
    try:
        requirements = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    pins = (re.match(r"torch\s*\(?==\s*([\w.]+)", requirement) for requirement in requirements)
    return next((pin[1] for pin in pins if pin), None)
