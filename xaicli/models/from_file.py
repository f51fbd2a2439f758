"""`path/to/model.py:function`: the user's own code, run to get a network."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn

from xaicli.containment import contained
from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models.checkpoint import is_checkpoint, read_checkpoint
from xaicli.models.fit import fit
from xaicli.models.from_module import saying
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.restore import restored
from xaicli.models.weights import read_weights
from xaicli.network.classifier import Classifier
from xaicli.network.sequences import itself
from xaicli.python_file import functions_of, import_file, importable, place_of, split
from xaicli.words import type_of


def load(request: Request) -> LoadedModel:
    """The network that a user's function returns: a torch module, or the result of `xaicli.classifier(module, ...)` or
    `xaicli.detector(module, ...)`."""
    file, name = split(request.name)
    request.refuse_flag(f"Write {file.name}:{name}.")
    if not request.trust:
        raise UsageError(f"{file}:{name} would run the code in {file.name}", hint="Where you trust it, add --trust.")
    request.notice(f"running your code from {file.name}")
    with saying(request.outputs, request.output_name):
        made = call(file, name)
    canonical = request.canonical("", f"{file.name}:{name}")
    if isinstance(made, Classifier):
        black_box = made.forward if made.module is None else None
        loaded = LoadedModel(
            canonical,
            made.view,
            None if made.module is None else itself(made.module),
            black_box,
            made.weights_fingerprint,
            made.classes,
            made.layer,
            # Features are found again, unless the command line says what the outputs are.
            outputs=None if made.features else made.outputs,
            output_name=made.output_name,
            decoding=made.decoding,
        )
    elif isinstance(made, nn.Module):
        loaded = LoadedModel(canonical, View(), module=made)
    else:
        raise InputError(
            f"{file.name}:{name} returned {type_of(made)}",
            expected="a torch module, or xaicli.classifier(module, resize=…)",
            hint=way_to_a_module(made),
        )
    if request.weights is not None:
        if loaded.module is None:
            request.refuse_weights("a black box")
            raise AssertionError("unreachable")
        if is_checkpoint(request.weights):
            return restored(read_checkpoint(request.weights), loaded.module, canonical)
        fit(loaded.module, read_weights(request.weights, request.notice), request.weights.name, f"{file.name}:{name}")
    return loaded


def call(file: Path, name: str) -> Any:
    """Import the file under a unique name and call the function, with its folder on the import path meanwhile."""
    folder = file.resolve().parent
    with importable(folder):
        try:
            module = import_file(file)
            if not hasattr(module, name):
                known = functions_of(file)
                raise UsageError(f"{file.name} has no function {name}", expected=", ".join(known), hint=did_you_mean(name, known))
            found = getattr(module, name)
            if isinstance(found, nn.Module | Classifier):
                return found
            require_no_arguments(file, name, found)
            return found()
        # The user's code may raise anything; the error is reported as theirs, with its line.
        except BaseException as error:
            where = place_of(error, folder) or file.name
            with contained(where, hint="This is in your own code; --debug shows the traceback."):
                raise


def way_to_a_module(made: object) -> str:
    """What to do with a class, or with a function of inputs, that was returned instead of a module; empty for anything else."""
    if isinstance(made, type):
        return f"Return an instance, such as {made.__name__}()."
    return "Call the function in the forward of a torch module." if callable(made) else ""


def require_no_arguments(file: Path, name: str, found: Any) -> None:
    """Raise InputError unless `found` can be called without arguments."""
    if not callable(found):
        raise InputError(f"{file.name}:{name} is {type_of(found)}", expected="a function that returns a torch module")
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
