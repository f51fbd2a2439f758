"""torchvision's networks, of clips too, with their weights' own preprocessing and class names."""

from __future__ import annotations

import importlib.util
import re
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from xaicli.cache import weights_folder
from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models import torchvision_detectors
from xaicli.models.download import download, is_whole
from xaicli.models.fit import aligned, fit, head_classes, shapes
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.torchvision_detectors import detectors
from xaicli.models.weights import State, read_weights
from xaicli.packages import import_torchvision, require
from xaicli.params import fold
from xaicli.untrusted import is_there

WITH_OWN_FILE = "IMAGENET1K_V1"
"""The weights whose preprocessing is used for a user's weights file, if none are named and these exist."""
IMAGENET_CLASSES = 1000
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of GoogLeNet and Inception that are used only in training."""
OF_CLIPS = "VideoClassification"
CLIP_LENGTH = re.compile(r"clip_len=(\d+)")
"""How many frames a clip had when the weights were scored, which their documentation alone says."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.")


def load(request: Request) -> LoadedModel:
    """A network of torchvision by name, with weights by enum name (`flag`), by default, or from a file."""
    torchvision = import_torchvision()
    name = find_name(request.name, [*classifiers(torchvision), *detectors(torchvision), *of_clips(torchvision)])
    entry = choose_weights(torchvision, name, request)
    file = request.weights or pretrained_file(entry, name, request)
    state = current_names(name, read_weights(file, request.notice))
    canonical = request.canonical("torchvision", name)
    if request.weights is None:
        canonical = f"torchvision:{name}@{entry.name}"
    if name in detectors(torchvision):
        return detector(torchvision, name, entry, state, file.name, canonical)
    module = build(torchvision, name, entry, state, file.name)
    return LoadedModel(canonical, view_of(entry), module=module, classes=tuple(entry.meta.get("categories") or ()))


def detector(torchvision: ModuleType, name: str, entry: Any, state: State, file: str, canonical: str) -> LoadedModel:
    """A detector with `state` loaded."""
    model = torchvision_detectors.build(torchvision, name, entry, state)
    fit(model, state, file, name)
    return torchvision_detectors.loaded(canonical, model, tuple(entry.meta.get("categories") or ()))


def classifiers(torchvision: ModuleType) -> list[str]:
    """The names of all image classifiers and segmentation networks; detectors and networks of clips are in other modules."""
    models = torchvision.models
    return [*models.list_models(module=models), *segmenters(torchvision)]


def segmenters(torchvision: ModuleType) -> list[str]:
    """The names of all networks that give a class map."""
    return list(torchvision.models.list_models(module=torchvision.models.segmentation))


def of_clips(torchvision: ModuleType) -> list[str]:
    """The names of all networks that read clips of several frames."""
    return list(torchvision.models.list_models(module=torchvision.models.video))


def find_name(name: str, known: list[str]) -> str:
    """torchvision's spelling of a name; raises UsageError with a suggestion."""
    for entry in known:
        if fold(entry) == fold(name):
            return entry
    raise UsageError(f'no model "{name}"', hint=f"{elsewhere(name) or did_you_mean(name, known)} (xai list models)".strip())


def elsewhere(name: str) -> str:
    """A hint at the source of a name that torchvision does not know."""
    if "/" in name:
        return f"For the Hugging Face hub write hf:{name}."
    if importlib.util.find_spec("timm") is not None and require("timm", "timm").is_model(name):
        return f"Did you mean timm:{name}?"
    return ""


def choose_weights(torchvision: ModuleType, name: str, request: Request) -> Any:
    """The member of the model's weights enum that sets architecture and preprocessing."""
    known = torchvision.models.get_model_weights(name)
    if request.flag and fold(request.flag) != "default":
        for entry in known:
            if fold(entry.name) == fold(request.flag):
                return entry
        names = [entry.name for entry in known]
        raise UsageError(
            f'{name} has no weights "{request.flag}"', expected=", ".join(names), hint=did_you_mean(request.flag, names)
        )
    if not len(known):
        raise InputError(f"torchvision has no weights for {name}", hint="Choose another model (xai list models).")
    if request.weights is not None and not request.flag:
        return known.__members__.get(WITH_OWN_FILE, known.DEFAULT)
    return known.DEFAULT


def view_of(entry: Any) -> View:
    """The preprocessing of torchvision's weights as a view.

    Segmentation networks take whole photos, their shorter side at a given length; here photos get that length on both sides, so
    that one input size serves all. Networks of clips take as many frames as the weights' own scores are of.
    """
    preset = entry.transforms()
    if not hasattr(preset, "crop_size"):
        (side,) = preset.resize_size
        return View((side, side), None, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))
    length = CLIP_LENGTH.search(str(entry.meta.get("_docs", ""))) if type(preset).__name__ == OF_CLIPS else None
    frames = int(length[1]) if length else 0
    sides = preset.resize_size, preset.crop_size
    return View(*sides, preset.interpolation.value, tuple(preset.mean), tuple(preset.std), frames=frames)


def address(entry: Any) -> str:
    """The URL of the weights."""
    return str(entry.url)


def pretrained_file(entry: Any, name: str, request: Request) -> Path:
    """The file of torchvision's weights: in our cache, in torch.hub's, or downloaded into ours."""
    url = address(entry)
    ours = weights_folder() / url.rpartition("/")[2]
    hub = Path(torch.hub.get_dir()) / "checkpoints" / ours.name
    for file in (ours, hub):
        if is_whole(file):
            return file
    damaged = f"{ours} is damaged (its hash is wrong)" if is_there(ours) else f"the weights of {name} are not on this machine"
    if request.offline:
        raise InputError(
            f"{damaged}, but --offline forbids the download",
            expected=f"them at {ours}",
            hint="Run once online, put the file there, or give --weights FILE.",
        )
    request.notice(f"{name}: downloading {ours.name} to {ours.parent}")
    download(url, ours, request.progress)
    return ours


def build(torchvision: ModuleType, name: str, entry: Any, state: State, file: str) -> nn.Module:
    """The network with `state` loaded; if only the head differs, with as many classes as the head has."""
    arguments = arguments_of(name, entry) if name not in segmenters(torchvision) else segmenter_arguments(name, state)
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        module: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
        known = len(entry.meta.get("categories") or ()) or IMAGENET_CLASSES
        classes = head_classes(shapes(module), shapes(aligned(state, module)), known)
        if classes is not None:
            module = torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)
    fit(module, state, file, name)
    return module


def arguments_of(name: str, entry: Any) -> dict[str, Any]:
    """The arguments that torchvision's builder passes to the network for these weights."""
    if name.startswith("vit_"):
        return {"image_size": entry.meta["min_size"][0]}
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    return {"init_weights": False} if name.startswith("vgg") else {}


def segmenter_arguments(name: str, state: State) -> dict[str, Any]:
    """Arguments that build a segmentation network for these weights: without backbone weights, and with the auxiliary head if
    they have one."""
    auxiliary = any(key.startswith("aux_classifier.") for key in state)
    return {"weights_backbone": None} | ({} if name.startswith("lraspp") else {"aux_loss": auxiliary})


def current_names(name: str, state: State) -> State:
    """`state` under today's names: DenseNet's old ones had dots; auxiliary heads are left out."""
    if not name.startswith(("densenet", "googlenet", "inception")):
        return state
    renamed = OrderedDict(
        (OLD_DENSENET.sub(r"\1\2.", key), tensor) for key, tensor in state.items() if not key.startswith(AUXILIARY)
    )
    if metadata := getattr(state, "_metadata", None):
        renamed._metadata = metadata  # type: ignore[attr-defined]
    return renamed
