"""The user's Python files, named on the command line as `FILE.py:NAME`: reading, importing, and locating their errors."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from xaicli.errors import InputError, UsageError
from xaicli.untrusted import is_file, read


def split(text: str) -> tuple[Path, str]:
    """The file and the name of `FILE.py:NAME`; raises InputError or UsageError."""
    path, colon, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    file = Path(path).expanduser()
    if not is_file(file):
        raise InputError(f"there is no file {path}", expected="FILE.py:NAME")
    if not colon or not name.isidentifier():
        known = functions_of(file)
        hint = f"Write {path}:{known[0]}." if known else ""
        raise UsageError(f"{text} names no function or class", expected=f"{path}:NAME", hint=hint)
    return file, name


def functions_of(file: Path) -> list[str]:
    """The functions and classes at the top of a file, read without running it."""
    try:
        body = ast.parse(read(file, "Python code")).body
    except (SyntaxError, ValueError, RecursionError, InputError):
        return []
    return [part.name for part in body if isinstance(part, ast.FunctionDef | ast.ClassDef) and not part.name.startswith("_")]


def import_file(file: Path) -> ModuleType:
    """Import the file as a module. It stays in `sys.modules`, under a name with its path's hash, so that its classes can be
    found."""
    name = f"xaicli_file_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} cannot be imported", expected="a Python file, FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Put `folder` first on the import path. Its modules are forgotten afterwards, since those of another folder may have the
    same names."""
    before = set(sys.modules)
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).resolve().is_relative_to(folder) and not name.startswith("xaicli_file_"):
                del sys.modules[name]


def place_of(error: BaseException, folder: Path) -> str:
    """FILE:LINE of the innermost frame of the error in the user's folder; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(folder)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
