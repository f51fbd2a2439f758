"""Which methods refuse the bundled networks: `python -m docs.refused` writes docs/results/refused.json, for docs/methods.md."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import xaicli
from xaicli import registry
from xaicli.errors import XaiError
from xaicli.method import Method
from xaicli.network.classifier import Classifier
from xaicli.suitability import unfit
from xaicli.targets import DECISION, Targets

STORED = Path(__file__).parent / "results" / "refused.json"
NETWORKS = ("tiny", "tiny-vit")
BY_OPERATIONS = ("guided-backprop", "deconvolution", "guided-grad-cam", "deeplift", "lrp")
"""Methods with rules for operations: only a pass shows whether they have one for each operation of a network."""


def found() -> dict[str, list[str]]:
    """The methods that refuse each network."""
    return {name: refused(xaicli.load_classifier(name, device="cpu")) for name in NETWORKS}


def refused(classifier: Classifier) -> list[str]:
    built_in = [entry for entry in registry.entries(registry.METHODS) if entry.origin == registry.BUILT_IN]
    methods = [cls() for entry in built_in if issubclass(cls := registry.load(registry.METHODS, entry), Method)]
    return [method.name for method in methods if not runs(method, classifier)]


def runs(method: Method, classifier: Classifier) -> bool:
    if unfit(method, classifier) is not None:
        return False
    if method.name in BY_OPERATIONS:
        photo = torch.rand(1, 3, *classifier.view.size, generator=torch.Generator().manual_seed(0))
        try:
            method.attribute(classifier, photo, Targets.same(DECISION, 1), torch.zeros(1, dtype=torch.int64))
        except XaiError:
            return False
    return True


if __name__ == "__main__":
    STORED.write_text(json.dumps(found(), indent=1) + "\n", "utf-8")
