"""Networks that `xai train` wrote, including those that ship with the package."""

from __future__ import annotations

from pathlib import Path

from xaicli.errors import InputError
from xaicli.models.architecture import OURS, rebuild
from xaicli.models.checkpoint import BUNDLED, ENDING, Checkpoint, read_checkpoint
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.restore import restored
from xaicli.params import fold
from xaicli.untrusted import is_file


def load(request: Request) -> LoadedModel:
    """The network in a checkpoint: `my-lfi.safetensors`."""
    path = Path(request.name).expanduser()
    request.refuse_flag(f"Write {path.name}.")
    request.refuse_weights(f"{path.name}")
    return loaded(read_checkpoint(path), path.name)


def load_bundled(request: Request) -> LoadedModel:
    """A network that ships with the package, or one of its architecture with the weights of a file: `tiny`, `tiny-vit`."""
    name = next(name for name in OURS if fold(name) == fold(request.name))
    request.refuse_flag(f"Write {name}.")
    if request.weights is not None:
        return loaded(read_checkpoint(request.weights), request.canonical("", name))
    path = bundled(name)
    if not is_file(path):
        raise InputError(
            f"the weights of {name} are not in this installation",
            expected=f"them at {path.name} among the bundled networks",
            hint="Train them: python -m tools.bundled_models --data DIR; or name another model (xai list models).",
        )
    return loaded(read_checkpoint(path), name)


def bundled(name: str) -> Path:
    """The path of a bundled network's weights."""
    return BUNDLED / f"{name}{ENDING}"


def loaded(checkpoint: Checkpoint, name: str) -> LoadedModel:
    return restored(checkpoint, rebuild(checkpoint), name)
