"""`path/to/model.py:function`: the user's own code, run to get a network."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, RunError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models.checkpoint import is_checkpoint, read_checkpoint
from xaicli.models.fit import fit
from xaicli.models.restore import restored
from xaicli.models.source import Loaded, Request
from xaicli.models.weights import read_weights
from xaicli.network.classifier import Classifier
from xaicli.untrusted import is_file, read


def load(request: Request) -> Loaded:
    """The network that a function of the user's returns: a torch module, or what `xaicli.classifier(module, ...)` gives."""
    file, name = split(request.name)
    request.refuse_flag(f"Write {file.name}:{name}.")
    if not request.trust:
        raise UsageError(f"{file}:{name} would run the code in {file.name}", hint="Where you trust it, add --trust.")
    request.notice(f"{file}:{name} is code of your own: it is run as it stands")
    made = call(file, name)
    canonical = request.canonical("", f"{file.name}:{name}")
    if isinstance(made, Classifier):
        black_box = made.forward if made.module is None else None
        loaded = Loaded(
            canonical,
            made.view,
            made.module,
            black_box,
            made.weights_fingerprint,
            made.classes,
            made.layer,
            outputs=made.outputs,
            output_name=made.output_name,
        )
    elif isinstance(made, nn.Module):
        loaded = Loaded(canonical, View(), module=made)
    else:
        raise RunError(
            f"{file.name}:{name} returned a {type(made).__name__}",
            expected="a torch module, or xaicli.classifier(module, resize=…)",
        )
    if request.weights is not None:
        if loaded.module is None:
            request.refuse_weights("a black box")
            raise AssertionError("unreachable")
        if is_checkpoint(request.weights):
            return restored(read_checkpoint(request.weights), loaded.module, canonical)
        fit(loaded.module, read_weights(request.weights, request.notice), request.weights.name, f"{file.name}:{name}")
    return loaded


def split(text: str) -> tuple[Path, str]:
    """The file and the function of `FILE.py:FUNCTION`; raises InputError or UsageError."""
    path, colon, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    file = Path(path).expanduser()
    if not is_file(file):
        raise InputError(f"there is no file {path}", expected="FILE.py:FUNCTION")
    if not colon or not name.isidentifier():
        known = functions_of(file)
        hint = f"Write {path}:{known[0]}." if known else ""
        raise UsageError(f"{text} names no function", expected=f"{path}:FUNCTION", hint=hint)
    return file, name


def functions_of(file: Path) -> list[str]:
    """The functions and classes at the top of a file, read without running it."""
    try:
        body = ast.parse(read(file, "Python code")).body
    except (SyntaxError, ValueError, RecursionError, InputError):
        return []
    return [part.name for part in body if isinstance(part, ast.FunctionDef | ast.ClassDef) and not part.name.startswith("_")]


def call(file: Path, name: str) -> Any:
    """Import the file under a name of its own and call the function, with its folder on the import path meanwhile."""
    folder = file.resolve().parent
    with importable(folder):
        try:
            module = run(file)
            if not hasattr(module, name):
                known = functions_of(file)
                raise UsageError(f"{file.name} has no function {name}", expected=", ".join(known), hint=did_you_mean(name, known))
            found = getattr(module, name)
            if isinstance(found, nn.Module | Classifier):
                return found
            require_no_arguments(file, name, found)
            return found()
        # The user's code may raise anything; it is reported as theirs, with its line.
        except BaseException as error:
            where = place_of(error, folder) or file.name
            with contained(where, hint="This is in your own code; --debug shows the traceback."):
                raise


def run(file: Path) -> ModuleType:
    """The file as a module; it stays known to Python, under a name that holds its path's hash, for its classes to be found."""
    name = f"xaicli_model_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} cannot be imported", expected="a Python file, FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """`folder` first on the import path. Its modules are forgotten afterwards: those of another folder may bear their names."""
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
            if origin and Path(origin).resolve().is_relative_to(folder) and not name.startswith("xaicli_model_"):
                del sys.modules[name]


def require_no_arguments(file: Path, name: str, found: Any) -> None:
    """Raise InputError unless `found` can be called without arguments."""
    if not callable(found):
        raise InputError(f"{file.name}:{name} is a {type(found).__name__}", expected="a function that returns a torch module")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise InputError(
            f"{file.name}:{name} cannot be called without arguments ({error})",
            expected="a function without arguments",
            hint="Give them defaults, or write a function that fills them in.",
        ) from error
    except ValueError:
        return


def place_of(error: BaseException, folder: Path) -> str:
    """FILE:LINE of the innermost place in the user's folder that the error went through; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(folder)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
