"""Putting the weights of a checkpoint back into their network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.checkpoint import Checkpoint
from xaicli.models.fit import fit
from xaicli.models.model_request import LoadedModel
from xaicli.task import branched_networks


def restored(checkpoint: Checkpoint, module: nn.Module, name: str) -> LoadedModel:
    """`module` with the checkpoint's weights, branch, view and class names; raises InputError where they do not fit."""
    view = View.from_dict(checkpoint.metadata.get("view", {}))
    names = checkpoint.metadata.get("class_names", [])
    if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
        raise InputError(f"the class names of {checkpoint.path.name} are damaged", expected="a list of names")
    return LoadedModel(name, view, module=with_weights(module, checkpoint), classes=tuple(names))


def with_weights(module: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """`module`, wrapped as the checkpoint's network was, with its weights; raises InputError where they do not fit."""
    branch = checkpoint.metadata.get("branch")
    # A branch draws initial weights; the caller's random state is restored.
    with torch.random.fork_rng(devices=[]):
        network = module if branch is None else branched_networks().restored(module, branch)
    state = OrderedDict(checkpoint.state("network"))
    fit(network, state, checkpoint.path.name, str(checkpoint.metadata.get("classifier", "its network")))
    return network
