"""The method that explains where none is named: on a bundled network what measured best there, by data of the package.

`tools/default_methods.py` writes the data from stored scores.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from xaicli.models.checkpoint import BUNDLED
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.untrusted import read as read_file

FILE = BUNDLED / "defaults.json"
OTHERWISE = {
    "sequence": "winit",
    "black box": "rise",
    "network": "grad-cam",
    "network without layers": "rise",
    "network without gradients": "recipro-cam",
}
"""The method by what a model allows, for those that nothing was measured of."""


@dataclass(frozen=True)
class DefaultMethod:
    """A method by name, and why it is taken, in words."""

    name: str
    why: str


def default_method(classifier: Classifier) -> DefaultMethod:
    """What measured best on this very network at one or two passes, or the usual method for what the model allows."""
    data = read()
    for name, entry in data["networks"].items():
        if entry["fingerprint"] == classifier.weights_fingerprint and classifier.module is not None:
            return DefaultMethod(entry["method"], reason(name, entry))
    kind = kind_of(classifier)
    return DefaultMethod(data["otherwise"][kind], f"the usual one for a {kind}")


def reason(network: str, entry: dict[str, Any]) -> str:
    value, low, high = entry["value"]
    among = f"of {entry['among']} methods with one or two passes a photo"
    measured = f"its insertion is {value:.2f} [{low:.2f}, {high:.2f}] over {entry['photos']} photos"
    if entry["ahead"]:
        return f"the best {among} on {network}; {measured}"
    return f"none {among} is shown to beat it on {network}; {measured}"


def kind_of(classifier: Classifier) -> str:
    if classifier.view.frames:
        return "sequence"
    if classifier.module is None:
        return "black box"
    if Needs.FEATURES not in classifier.provides:
        return "network without layers"
    return "network" if Needs.GRADIENTS in classifier.provides else "network without gradients"


@functools.cache
def read() -> dict[str, Any]:
    return dict(json.loads(read_file(FILE, "the defaults of the package")))
