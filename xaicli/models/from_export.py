"""`FILE.pt2`: a program that torch.export saved, run as a black box.

Such a program has no visible layers, and its parameters may be constants, so it counts as a black box even if gradients could
flow. For methods that need gradients, load the network from which it was exported.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from xaicli.errors import InputError, UsageError
from xaicli.models.cut_network import JOINED, two_files
from xaicli.models.cut_program import cut_program, of_two_programs, tensors_of
from xaicli.models.exported_program import ProgramPart, on_device, signature_of
from xaicli.models.from_onnx import view_for
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.weights import first_bytes
from xaicli.stamps import sha256_file, stamp

WANTED = "a program saved by torch.export"
ARCHIVE = b"PK"
"""The first bytes of such a file."""


def load(request: Request) -> LoadedModel:
    """The classifier in an exported program, with 224 pixels per side or the program's fixed size; ImageNet's mean and
    deviation.

    A black box, unless it was cut: `@layer=TENSOR` after its name, or two files `FEATURES+HEAD`.
    """
    request.refuse_weights("an exported program")
    request.refuse_flag(f"Write {request.name}.")
    files = two_files(request.name) or (Path(request.name).expanduser(),)
    for file in files:
        require_program(file, request)
    if len(files) == 2:
        request.refuse_layer("a network in two files, which is cut already")
    program = read(files[0])
    signature = signature_of(program, files[0])
    name, view = request.canonical("", JOINED.join(file.name for file in files)), view_for(signature.size, signature.channels)
    contents, accepts = [sha256_file(file) for file in files], signature.accepted
    if len(files) == 2:
        network = of_two_programs(program, read(files[1]), signature, request.device, files)
        return LoadedModel(name, view, module=network, content=stamp(contents), layer=network.layer, accepts=accepts)
    cuts, (file, content) = (lambda: tensors_of(program, signature).rows()), (files[0], contents[0])
    if request.layer:
        tensor = tensors_of(program, signature).named(request.layer, file.name)
        network = cut_program(program, tensor, signature, request.device)
        return LoadedModel(name, view, module=network, content=content, layer=network.layer, cuts=cuts, accepts=accepts)
    whole = ProgramPart(on_device(program, request.device), (signature.dtype,), signature.least, signature.most, request.device)
    return LoadedModel(name, view, forward=whole, content=content, cuts=cuts, accepts=accepts)


def require_program(file: Path, request: Request) -> None:
    """Raise XaiError unless a file is an exported program that may be loaded; say that this can run code."""
    if not first_bytes(file, WANTED).startswith(ARCHIVE):
        raise InputError(f"{file} is not an exported program", expected=WANTED)
    if not request.trust:
        raise UsageError(f"loading {file.name} can run code", hint="Where you trust it, add --trust.")
    request.notice(f"{file.name} is a program saved by torch.export: loading it can run code")


def read(file: Path) -> Any:
    with quiet():
        try:
            return torch.export.load(file)
        # torch reports a damaged or foreign program by many types of exceptions, none of them its own.
        except Exception as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(
                f"{file} is not an exported program that this torch ({torch.__version__}) can load: {reason}",
                hint="Export it again with this version: torch.export.save(torch.export.export(model, (inputs,)), FILE).",
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of torch.export: the error that follows says the same in one line."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
