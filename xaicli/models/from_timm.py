"""timm's classifiers, with their data configuration as the view and ImageNet's names from timm's own tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from xaicli.cache import weights_folder
from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models.download import download, is_whole
from xaicli.models.fit import aligned, fit, head_classes, shapes
from xaicli.models.hub import cannot_load, hub
from xaicli.models.model_request import LoadedModel, Notice, Request
from xaicli.models.weights import State, read_weights
from xaicli.packages import import_torchvision, require
from xaicli.params import fold

ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes by which timm loads from a repository or a folder that is not its own."""


def load(request: Request) -> LoadedModel:
    """A classifier of timm by name: pretrained, or with weights from a file."""
    import_torchvision()
    timm = require("timm", "timm")
    name = find_name(timm, request.name)
    request.refuse_flag(f"In timm the weights are part of the name: timm:{name}.{request.flag}")
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        if request.weights is None:
            module = pretrained(timm, name, request)
            tag = module.pretrained_cfg.get("tag")
            spec = f"{name}.{tag}" if tag and "." not in name else name
        else:
            module = build(timm, name, read_weights(request.weights, request.notice), request.weights.name)
            spec = name
    view = view_of(timm.data.resolve_model_data_config(module), request.notice)
    return LoadedModel(request.canonical("timm", spec), view, module=module, classes=names_of(timm, module))


def find_name(timm: ModuleType, name: str) -> str:
    """timm's spelling of a model's name, with its tag; raises UsageError with a suggestion."""
    if name.startswith(ELSEWHERE):
        return name
    stem, dot, tag = name.partition(".")
    known = timm.list_models()
    found = stem if stem in known else next((entry for entry in known if fold(entry) == fold(stem)), None)
    if found is None:
        raise UsageError(f'timm has no model "{stem}"', hint=did_you_mean(stem, known))
    tags = [entry.partition(".")[2] for entry in timm.list_pretrained(f"{found}.*")]
    if tag and tag not in tags:
        hint = did_you_mean(tag, tags) or f"See timm.list_pretrained('{found}*')."
        raise UsageError(f'timm has no weights "{tag}" for {found}', expected=", ".join(tags[:4]) or "none", hint=hint)
    return f"{found}{dot}{tag}"


def pretrained(timm: ModuleType, name: str, request: Request) -> Any:
    """The network with timm's own weights, from the hub, or from timm's site through our cache."""
    if name.startswith(ELSEWHERE):
        repository, overlay = name.partition(":")[2], None
    else:
        config = timm.get_pretrained_cfg(name)
        if config is None or not config.has_weights:
            raise InputError(f"timm has no weights for {name}", hint="Give them with --weights FILE, or name another model.")
        repository = config.hf_hub_id or ""
        overlay = None if repository else {"file": str(from_site(str(config.url), name, request))}
    with hub(request.offline, request.progress) as offline:
        try:
            module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        # The exceptions of timm and the hub's client have no common type; each means that the model cannot be loaded.
        except Exception as error:
            raise cannot_load(f"timm:{name}", repository, error, asked_offline=request.offline, offline=offline) from error
    return module


def from_site(url: str, name: str, request: Request) -> Path:
    """A file of weights from timm's own site."""
    file = weights_folder() / url.rpartition("/")[2]
    if is_whole(file):
        return file
    if request.offline:
        raise InputError(
            f"the weights of timm:{name} are not on this machine, but --offline forbids the download",
            expected=f"them at {file}",
            hint="Run once online, put the file there, or give --weights FILE.",
        )
    request.notice(f"{name}: downloading {file.name} to {file.parent}")
    download(url, file, request.progress)
    return file


def build(timm: ModuleType, name: str, state: State, file: str) -> Any:
    """The network with `state` loaded; if only the head differs, with as many classes as the head has."""
    if name.startswith(ELSEWHERE):
        raise UsageError(f"--weights with {name}", expected="a model of timm's own", hint="Leave --weights out.")
    module = timm.create_model(name, pretrained=False)
    classes = head_classes(shapes(module), shapes(aligned(state, module)), module.num_classes)
    if classes is not None:
        module = timm.create_model(name, pretrained=False, num_classes=classes)
    fit(module, state, file, f"timm:{name}")
    return module


def view_of(config: Mapping[str, Any], notice: Notice) -> View:
    """timm's data configuration as a view: the crop is `crop_pct` of the resize, rounded as timm rounds."""
    _, height, width = config["input_size"]
    scaled = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    if config["crop_mode"] == "border":
        notice("timm pads photos to a square for this model; here they are cropped (see --resize and --crop)")
    squash = config["crop_mode"] == "squash"
    return View(
        scaled if squash else min(scaled),
        height if height == width else (height, width),
        config["interpolation"],
        tuple(config["mean"]),
        tuple(config["std"]),
    )


def names_of(timm: ModuleType, module: Any) -> tuple[str, ...]:
    """Class names: those that came with the weights, or else ImageNet's if the number of classes identifies them."""
    count = module.num_classes
    own = module.pretrained_cfg.get("label_names")
    if own and len(own) == count:
        described = module.pretrained_cfg.get("label_descriptions") or {}
        return tuple(str(described.get(label, label)) for label in own)
    subset = timm.data.infer_imagenet_subset(module) if count else None
    if subset is None:
        return ()
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(count)) if info.num_classes() == count else ()
