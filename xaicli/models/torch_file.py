"""Files written by torch.save, read as untrusted: only tensors, and no more memory than the file's size justifies."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaicli.errors import InputError
from xaicli.untrusted import opened
from xaicli.words import count

UNREADABLE = (Exception,)
"""The exceptions with which torch reports a damaged archive, none of them its own type. Errors in words are handled before."""

EXPORTED = ("/models/model.json", "serialized_exported_program.json")
"""What an archive of torch.export holds, by its version, and one of weights does not."""

SPARE = 1 << 20
"""By how many bytes an archive's contents may exceed it, since names and pickles are compressed."""

MOST_COPIES = 16
"""How many values in memory may come from one value on disk: tied weights, and half precision read as float32."""

DEEPEST = 16


class CodeRefused(InputError):
    """A pickle names a class or a function; loading it would run code."""


def load_tensors(path: Path, wanted: str) -> Any:
    """The contents of a file of torch.save, on the CPU; never runs code.

    Raises InputError if it would unpack to more than its size, CodeRefused if it holds more than tensors, any of UNREADABLE if it
    is damaged.
    """
    with opened(path, wanted) as file:
        refuse_bomb(path, file, wanted)
    with warnings.catch_warnings():
        # Warnings of old formats and unusual protocols; an error that matters follows anyway.
        warnings.simplefilter("ignore")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise CodeRefused(str(error)) from error
    refuse_expanded(path, content)
    return content


def is_exported_program(path: Path) -> bool:
    """Whether a file is a program that torch.export saved."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(EXPORTED) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def refuse_bomb(path: Path, file: Any, wanted: str) -> None:
    """Raise InputError for an archive that claims to unpack to more bytes than it has: torch.save does not compress."""
    if file.read(2) != b"PK":
        return
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > size + SPARE:
        raise InputError(
            f"{path} is an archive of {count(size, 'byte')} that unpacks to {unpacked:,}",
            expected=f"{wanted}, as torch.save writes it",
        )


def refuse_expanded(path: Path, content: Any) -> None:
    """Raise InputError for tensors with more values than the file holds: a stride of 0 makes many values from one."""
    storages: dict[int, int] = {}
    total = 0
    for tensor in tensors_in(content):
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise InputError(f"{path} holds a tensor that is sparse, quantised or empty of values", expected="plain tensors")
        storage = tensor.untyped_storage()
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise InputError(
                f"{path} holds a tensor of {tensor.numel():,} values that stores {storage.nbytes() // tensor.element_size():,}",
                expected="a value on disk for each in memory",
            )
        storages[storage.data_ptr()] = storage.nbytes()
        total += tensor.numel() * max(4, tensor.element_size())
    if total > MOST_COPIES * sum(storages.values()) + SPARE:
        raise InputError(f"{path} stands for {count(total, 'byte')} of tensors, and stores {sum(storages.values()):,}")


def tensors_in(content: Any, depth: int = 0) -> Iterator[Tensor]:
    """All tensors in dicts and lists of each other."""
    if isinstance(content, Tensor):
        yield content
    elif depth < DEEPEST and isinstance(content, Mapping):
        for value in content.values():
            yield from tensors_in(value, depth + 1)
    elif depth < DEEPEST and isinstance(content, list | tuple | set):
        for value in content:
            yield from tensors_in(value, depth + 1)
