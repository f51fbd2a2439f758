"""Explaining with trained methods against bare forward passes: of the network, and of the small head where there is one."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import classifier, device, photos
from benchmarks.timing import ratios
from xaicli.method import Method
from xaicli.methods.lfi.feature_importance import Importance
from xaicli.methods.lfi.lfi_cam import LFICAM
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.methods.tame.t_tame import TTAME, TTAMETask, TTAMETraining
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

BATCH = 16
LIMIT = 1.15
NETWORKS = ("resnet50", "mobilenet_v3_large")


def measure(rounds: int) -> list[Figure]:
    figures = []
    for name in NETWORKS:
        network = classifier(name)
        figures += t_tame(network, name, rounds)
        branched = with_branch(network.torch_module, network.view.size, Importance(fin_width=64)).eval()
        own = dataclasses.replace(network, forward=branched, module=branched)
        inputs = photos(BATCH)
        found, _ = ratios(explaining(LFICAM(), own, inputs), bare(own, inputs), rounds)
        figures.append(Figure(f"lfi-cam of {BATCH} photos on {name} with a branch, over its bare pass", "", tuple(found), LIMIT))
    return figures


def t_tame(network: Classifier, name: str, rounds: int) -> list[Figure]:
    """T-TAME with a head of random weights: they do not change what a pass costs."""
    torch.manual_seed(0)
    task, inputs = TTAMETask(network, TTAMETraining()), photos(BATCH)
    head, classes = task.head.eval(), torch.zeros(BATCH, 1, dtype=torch.int64, device=device())
    with torch.inference_mode():
        features, _ = task.features_and_logits(inputs)

    def both() -> Tensor:
        with torch.inference_mode():
            network(inputs)
            return head(features, classes)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attention.safetensors"
        write_checkpoint(path, task.finish(), {"method": "t-tame", **about_classifier(network), **task.metadata()})
        explain = explaining(TTAME(checkpoint=str(path)), network, inputs)
        over_both, _ = ratios(explain, both, rounds)
        over_network, _ = ratios(explain, bare(network, inputs), rounds)
    what = f"t-tame of {BATCH} photos on {name} over bare passes of"
    return [
        Figure(f"{what} network and head", "", tuple(over_both), LIMIT),
        Figure(f"{what} the network alone", "", tuple(over_network)),
    ]


def explaining(method: Method, network: Classifier, inputs: Tensor) -> Callable[[], object]:
    seeds, targets = torch.arange(len(inputs)), Targets.same(DECISION, len(inputs))
    method.require(network)
    return lambda: method.attribute(network, inputs, targets, seeds)


def bare(network: Classifier, inputs: Tensor) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with torch.inference_mode():
            return network(inputs)

    return forward
