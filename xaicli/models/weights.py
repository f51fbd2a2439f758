"""Reading files of weights: safetensors, and torch's pickles with weights_only=True. Code in a pickle is never run."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from xaicli.errors import InputError
from xaicli.models.torch_file import UNREADABLE, CodeRefused, is_exported_program, load_tensors
from xaicli.untrusted import in_words, opened
from xaicli.words import count as counted
from xaicli.words import type_of

State = OrderedDict[str, Tensor]
"""A state dict; its attribute `_metadata`, if torch wrote one, is kept."""

NESTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema")
"""The keys under which training scripts store weights in a checkpoint; averaged ones are used only without plain ones."""
AVERAGES_COUNTED = "n_averaged"
"""The counter that torch's AveragedModel stores beside its weights."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""
DEEPEST = 4
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)|but got <class '([\w.]+)'>")
"""The name of the refused class in torch's error."""


def read_weights(path: Path, notice: Callable[[str], None] = lambda text: None) -> State:
    """The tensors of a file by name, floating ones as float32, on the CPU; raises InputError if it is not a file of weights.

    notice: called with one line if weights are NaN.
    """
    kind = kind_of(path)
    state = read_safetensors(path) if kind == "safetensors" else read_pickle(path, notice)
    if not state:
        raise InputError(f"{path} holds no weights", expected="tensors by name, as in torch.save(model.state_dict(), FILE)")
    state = without_wrappers(state)
    for name, tensor in state.items():
        # Attention masks and biases may hold -inf on purpose; NaN never is on purpose.
        if tensor.is_floating_point() and tensor.isnan().any():
            count = int(tensor.isnan().sum())
            notice(f"{path.name} holds {counted(count, 'weight')} that are NaN, the first in {name}; its outputs may be too")
            break
    return state


def kind_of(path: Path) -> str:
    """ "safetensors" or "pickle" by the file's first bytes; raises InputError for all else."""
    head = first_bytes(path, "a file of weights (.safetensors, .pth)")
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "pickle"
    raise InputError(f"{path} is not a file of weights", expected="safetensors, or a state dict saved by torch.save")


def first_bytes(path: Path, wanted: str) -> bytes:
    """The first bytes of a file that should be `wanted`; raises InputError if it is empty, a Git LFS pointer or a web page."""
    with opened(path, wanted) as file, in_words(path, wanted):
        head = file.read(64)
    if not head:
        raise InputError(f"{path} is empty (0 bytes)", expected=wanted, hint="Download or copy it again.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer", expected=wanted, hint="Type: git lfs pull")
    if head.lstrip()[:1] == b"<":
        raise InputError(f"{path} is a web page", expected=wanted, hint="Download the file itself.")
    return head


def read_safetensors(path: Path) -> State:
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError, OSError) as error:
        reason = str(error).partition("\n")[0].removeprefix("Error while deserializing header: ")
        raise InputError(
            f"{path} is not a readable safetensors file ({reason})", hint="Download or copy it again; it may be cut off."
        ) from error
    return OrderedDict((name, as_float32(tensors[name])) for name in sorted(tensors))


def read_pickle(path: Path, notice: Callable[[str], None] = lambda text: None) -> State:
    """Read the state dict in a file of torch.save; raises InputError if it holds more than weights, or is truncated."""
    try:
        content = load_tensors(path, "a file of weights")
    except CodeRefused as error:
        raise more_than_weights(path, error) from error
    except InputError:
        raise
    except UNREADABLE as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path} is a TorchScript program, not weights", expected="a state dict", hint=save_only_weights(path)
            ) from error
        if is_exported_program(path):
            raise InputError(
                f"{path} is a program saved by torch.export, not weights", expected="a state dict", hint=save_only_weights(path)
            ) from error
        raise InputError(
            f"{path} is not a readable file of weights ({first_line(error)})",
            hint="Download or copy it again; it may be cut off.",
        ) from error
    state = find_state(content)
    averaged = [key for key in AVERAGED if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    if state is not None and averaged and any(isinstance(content.get(key), Mapping) for key in NESTS):
        notice(f"{path.name} holds averaged weights too ({averaged[0]}); the plain ones are used")
    if state is None:
        raise InputError(
            f"{path} holds no weights: {contents(content)}",
            expected=f"tensors by name, or a dict with {NESTS[0]} or {NESTS[2]}",
            hint=save_only_weights(path),
        )
    return state


def find_state(content: Any, depth: int = 0) -> State | None:
    """The state dict in a file's contents: at the top, or under one of the keys that training scripts use."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return None
    for key in (*NESTS, *AVERAGED):
        if isinstance(content.get(key), Mapping) and (found := find_state(content[key], depth + 1)):
            return found
    tensors = OrderedDict((str(key), as_float32(value)) for key, value in content.items() if isinstance(value, Tensor))
    tensors.pop(AVERAGES_COUNTED, None)
    if not tensors:
        return None
    if metadata := getattr(content, "_metadata", None):
        tensors._metadata = metadata  # type: ignore[attr-defined]
    return tensors


def without_wrappers(state: State) -> State:
    """The state without the prefixes that DataParallel and torch.compile put before all names."""
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            return without_wrappers(without_prefix(state, prefix))
    return state


def without_prefix(state: State, prefix: str) -> State:
    """The entries whose names begin with `prefix`, without it."""
    kept = OrderedDict((name.removeprefix(prefix), tensor) for name, tensor in state.items() if name.startswith(prefix))
    if metadata := getattr(state, "_metadata", None):
        stem = prefix.removesuffix(".")
        stripped = {key.removeprefix(stem).lstrip("."): value for key, value in metadata.items() if key.startswith(stem)}
        kept._metadata = OrderedDict(stripped)  # type: ignore[attr-defined]
    return kept


def as_float32(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def more_than_weights(path: Path, error: Exception) -> InputError:
    """The error for a pickle that names a class or a function: loading it would run code."""
    named = FORBIDDEN.search(str(error))
    if named is None:
        return InputError(f"{path} is not a readable file of weights ({first_line(error)})", hint="Download or copy it again.")
    return InputError(
        f"{path} holds more than weights (it names {named[1] or named[2]}), and loading such a pickle can run code: refused",
        expected="a state dict of tensors",
        hint=f"{save_only_weights(path)} {rewrite(path)}",
    )


def rewrite(path: Path) -> str:
    """The command that writes a file of the weights alone; it runs the pickle's code, so the user must decide."""
    # Modules become their state dicts, and in dicts, of dicts too, only tensors stay: pickles also hold settings and optimisers.
    code = (
        "import torch; w = lambda c: w(c.state_dict()) if hasattr(c, 'state_dict') else "
        "{k: w(v) for k, v in c.items() if hasattr(v, 'items') or hasattr(v, 'state_dict') or torch.is_tensor(v)} "
        "if hasattr(c, 'items') else c.detach(); "
        f"torch.save(w(torch.load('{path.name}', 'cpu', weights_only=False)), '{path.stem}.weights.pth')"
    )
    return f'If you trust it, write its weights alone: python -c "{code}"'


def save_only_weights(path: Path) -> str:
    return f"Where it was made, type torch.save(model.state_dict(), '{path.stem}.weights.pth')."


def contents(content: Any) -> str:
    """What a file holds instead of weights, in words."""
    if isinstance(content, Mapping):
        return f"its names are {', '.join(str(key) for key in list(content)[:4])}" if content else "it is an empty dict"
    return f"it is {type_of(content)}"


def first_line(error: BaseException) -> str:
    """The first sentence of an exception's text, shortened."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0].partition(". ")[0]
    return text[:120] or type(error).__name__
