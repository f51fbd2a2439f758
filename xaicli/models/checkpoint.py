"""Checkpoints of training: safetensors with metadata, accepted only for the classifier for which they were trained."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from xaicli.cache import cache_folder
from xaicli.errors import InputError, XaiError
from xaicli.files import write_atomic
from xaicli.models.weights import kind_of, read_safetensors
from xaicli.network.classifier import Classifier
from xaicli.stamps import FIRST_SCHEMA, array_checksum, checksum_of, stamp, with_checksum, without_checksum
from xaicli.untrusted import file_state, status_if_there, status_of

KEY = "xaicli"
"""The key of the metadata, as JSON, in the file's header."""
TENSORS = "tensors"
"""The entry of the metadata that tells whether the tensors are as they were written."""
SCHEMA = 2
ENDING = ".safetensors"
LISTED = 1024
"""Checkpoints whose metadata are kept at hand."""
BUNDLED = Path(__file__).resolve().parent / "bundled"
"""The networks and explainers that ship with the package."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by name (float32) and metadata: method, parameters, layers, classifier, fingerprint, classes, data, seed, …"""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def state(self, module: str) -> dict[str, Tensor]:
        """The state of one of the task's modules."""
        prefix = f"{module}."
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class ListedCheckpoint:
    """A checkpoint in one of the searched folders; `fault` says why it cannot be used, if so."""

    path: Path
    metadata: Mapping[str, Any]
    bundled: bool
    fault: str = ""


def about_classifier(classifier: Classifier) -> dict[str, Any]:
    """What a checkpoint records of its classifier, so that another classifier can be recognised and the difference named."""
    return {
        "classifier": classifier.name,
        "fingerprint": classifier.weights_fingerprint,
        "count": classifier.count,
        "classes": stamp(list(classifier.classes)),
        "view": classifier.view.as_dict(),
    }


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, half: bool = False) -> None:
    """Write tensors and metadata in one file, whole or not at all; half: floating tensors in float16. Raises InputError."""
    plain = {name: stored(tensor, half) for name, tensor in tensors.items()}
    about = with_checksum({"schema": SCHEMA, **metadata, TENSORS: tensors_checksum(plain)})
    header = {KEY: json.dumps(about, sort_keys=True, allow_nan=False)}
    content = safetensors.torch.save(plain, header)
    write_atomic(path, lambda file: file.write(content))


def stored(tensor: Tensor, half: bool) -> Tensor:
    """A tensor as it is stored: a copy, in float16 if requested and if its range allows it."""
    plain = tensor.detach().cpu()
    if half and plain.dtype == torch.float32 and bool((plain.abs() < torch.finfo(torch.float16).max).all()):
        plain = plain.half()
    return plain.contiguous().clone()


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of xai; False if it cannot be read."""
    try:
        return bool(read_metadata(path))
    except XaiError:
        return False


def read_metadata(path: Path) -> dict[str, Any]:
    """A checkpoint's metadata, from the file's header alone; raises InputError if the file is not a checkpoint of xai."""
    hint = "Train one: xai train METHOD --model SPEC --data DIR -o FILE."
    if kind_of(path) != "safetensors":
        raise InputError(f"{path} is not a checkpoint of xai train", expected="a .safetensors file that it wrote", hint=hint)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(KEY)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} is not a readable safetensors file ({reason})", hint="Copy it again; it may be cut off."
        ) from error
    if header is None:
        raise InputError(f"{path} holds weights without the metadata of xai", expected="a checkpoint of xai train", hint=hint)
    return checked(path, header)


def checked(path: Path, header: str) -> dict[str, Any]:
    """The metadata as a dict; raises InputError if they are damaged or of another version."""
    try:
        metadata = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the metadata of {path} are not JSON", expected="a checkpoint of xai train") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("method"), str):
        raise InputError(f"the metadata of {path} name no method", expected="a checkpoint of xai train")
    if metadata.get("schema") not in (FIRST_SCHEMA, SCHEMA):
        raise InputError(
            f"{path} is a checkpoint of version {metadata.get('schema')!r}", expected=f"version {SCHEMA}", hint="Update xaicli."
        )
    return intact(path, metadata)


def intact(path: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        return without_checksum(metadata, metadata["schema"])
    except ValueError as error:
        raise InputError(f"the metadata of {path} are damaged: {error}", hint="Copy the file again.") from error


def tensors_checksum(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits over the tensors as they lie in the file, names included."""
    return checksum_of(
        {
            name: [str(tensor.dtype), list(tensor.shape), array_checksum(tensor.reshape(-1).view(torch.uint8).numpy())]
            for name, tensor in tensors.items()
        }
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of xai; raises InputError if the file is not one. It is read again only when the file changes."""
    path = Path(os.path.expanduser(path))
    status = status_of(path, "a checkpoint of xai train")
    return read_once(path, file_state(status))


@functools.lru_cache(maxsize=8)
def read_once(path: Path, state: tuple[int, ...]) -> Checkpoint:
    metadata = read_metadata(path)
    tensors = dict(read_safetensors(path))
    known = metadata["schema"] == FIRST_SCHEMA or metadata[TENSORS] == tensors_checksum(safetensors.torch.load_file(path))
    if not known:
        raise InputError(f"{path} is damaged: a tensor is not what was written", hint="Copy it again; its checksum is another.")
    return Checkpoint(path, tensors, metadata)


def checkpoint_for(method: str, classifier: Classifier, given: str = "auto") -> Checkpoint:
    """The checkpoint of a method for a classifier: the named file or, for `auto`, the installed one.

    Raises InputError if there is none, or if it was made for another method or classifier, naming what differs. Calling it for
    each batch is cheap: a file is read once.
    """
    if given != "auto":
        checkpoint = read_checkpoint(Path(given))
        require_fit(checkpoint.path, checkpoint.metadata, method, classifier)
        return checkpoint
    if (fitting := installed(method, classifier)) is not None:
        return fitting
    others = ", ".join(dict.fromkeys(str(found.metadata.get("classifier")) for found in installed_for(method)))
    raise InputError(
        f"no checkpoint of {method} for {classifier.name} is installed{f' (there are some for {others})' if others else ''}",
        hint=f"Train one: xai train {method} --model {classifier.name} --data DIR; or name one: {method}@checkpoint=FILE.",
    )


def installed(method: str, classifier: Classifier, alike: Mapping[str, Any] | None = None) -> Checkpoint | None:
    """The installed checkpoint of a method for a classifier, with these entries in its metadata; None without one."""
    for found in installed_for(method):
        if not difference(found.metadata, classifier) and all(
            found.metadata.get(key) == value for key, value in (alike or {}).items()
        ):
            return read_checkpoint(found.path)
    return None


def installed_for(method: str) -> list[ListedCheckpoint]:
    return [found for found in list_checkpoints() if not found.fault and found.metadata["method"] == method]


def require_fit(path: Path, metadata: Mapping[str, Any], method: str, classifier: Classifier) -> None:
    """Raise InputError, naming what differs, unless a checkpoint was trained for this method and this classifier."""
    if metadata["method"] != method:
        raise InputError(f"{path.name} was trained for {metadata['method']}, not for {method}", hint="xai list checkpoints")
    if different := difference(metadata, classifier):
        raise InputError(
            f"{path.name} was trained for another classifier: {different}",
            expected=f"one trained for {classifier.name}",
            hint=f"Train one: xai train {method} --model {classifier.name} --data DIR.",
        )


def difference(metadata: Mapping[str, Any], classifier: Classifier) -> str:
    """How the classifier of a checkpoint differs from this one, in words; empty if it is the same."""
    if metadata.get("fingerprint") == classifier.weights_fingerprint and metadata.get("count") == classifier.count:
        return ""
    here = about_classifier(classifier)
    parts = []
    if metadata.get("classifier") != here["classifier"]:
        parts.append(f"{metadata.get('classifier')}, not {here['classifier']}")
    if metadata.get("count") != here["count"]:
        parts.append(f"{metadata.get('count')} classes, not {here['count']}")
    elif metadata.get("classes") != here["classes"]:
        parts.append("other class names")
    if metadata.get("view") != here["view"]:
        parts.append(f"view {words(metadata.get('view'), here['view'])}")
    return ", ".join(parts) or f"its weights (fingerprint {metadata.get('fingerprint')}, not {here['fingerprint']})"


def words(one: Any, other: Mapping[str, Any]) -> str:
    """The entries in which two views differ."""
    if not isinstance(one, Mapping):
        return "unknown"
    return " and ".join(f"{key} {one.get(key)} instead of {value}" for key, value in other.items() if one.get(key) != value)


def checkpoints_folder() -> Path:
    """The folder of installed checkpoints; `xai cache clear` does not touch it."""
    return cache_folder() / "checkpoints"


def list_checkpoints() -> list[ListedCheckpoint]:
    """All checkpoints that are found automatically: installed ones, the newest first, then those that ship with the package."""
    installed = sorted(files_of(checkpoints_folder()), key=lambda file: (-file[1].st_mtime_ns, file[0]))
    return [*(listed(*file, bundled=False) for file in installed), *(listed(*file, bundled=True) for file in files_of(BUNDLED))]


def files_of(folder: Path) -> list[tuple[str, os.stat_result]]:
    """The checkpoints of a folder by name, each with its status, asked for once: methods look here for each photo."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.name.endswith(ENDING) and not entry.name.startswith(".")]
    except OSError:
        return []
    found = ((name, status_if_there(name)) for name in sorted(names))
    return [(name, status) for name, status in found if status is not None and stat.S_ISREG(status.st_mode)]


def listed(name: str, status: os.stat_result, *, bundled: bool) -> ListedCheckpoint:
    try:
        return ListedCheckpoint(Path(name), read_listed(name, file_state(status)), bundled)
    except XaiError as error:
        return ListedCheckpoint(Path(name), {}, bundled, error.found)


@functools.lru_cache(maxsize=LISTED)
def read_listed(name: str, state: tuple[int, ...]) -> dict[str, Any]:
    """The metadata, read again only when the file changes."""
    return read_metadata(Path(name))
