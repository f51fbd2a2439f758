"""`FILE.pt`, `FILE.pth`: a TorchScript program. It runs as it stands: gradients pass it, but hooks on its layers do not.

A program that was frozen (`torch.jit.freeze`) has no modes and is run as a black box.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.weights import first_bytes
from xaicli.stamps import sha256_file
from xaicli.untrusted import is_file

WANTED = "a TorchScript program"
ARCHIVE = b"PK"
CONSTANTS = "/constants.pkl"
"""What such an archive holds, and one of weights does not."""


def is_script(path: Path) -> bool:
    """Whether a file is a TorchScript program, and not one of weights."""
    if not is_file(path) or not first_bytes(path, WANTED).startswith(ARCHIVE):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(CONSTANTS) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def load(request: Request) -> LoadedModel:
    """The classifier in a TorchScript program, with the usual view. Raises UsageError where no code may run."""
    file = Path(request.name).expanduser()
    request.refuse_weights("a TorchScript program")
    request.refuse_flag(f"Write {request.name}.")
    if not request.trust:
        raise UsageError(f"{file.name} is a TorchScript program, which is code", hint="Where you trust it, add --trust.")
    request.notice(f"{file.name} is a TorchScript program, which is code; running it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            program = torch.jit.load(str(file), map_location=request.device)
        # torch reports a damaged program, or one of another version, as a RuntimeError.
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{file} is no TorchScript program that this torch can load: {reason}") from error
    name = request.canonical("", file.name)
    if hasattr(program, "training"):
        return LoadedModel(name, View(), module=program)
    return LoadedModel(name, View(), forward=program, content=sha256_file(file))
