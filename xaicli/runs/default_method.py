"""The method that explains where none is named: on a bundled network by scores that were measured there, kept in the package.

`tools/default_methods.py` writes the data from the model card's scores, and says which methods were compared.
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
from xaicli.words import count

FILE = BUNDLED / "defaults.json"
OTHERWISE = {
    "sequence": "winit",
    "black box": "rise",
    "network": "grad-cam",
    "network without layers": "rise",
    "network without gradients": "recipro-cam",
}
"""The method by what a model allows, for those that nothing was measured of."""
NO_GRADIENTS = "it needs no gradients, and this network gives none; it runs what follows the layer once for each place of the map"


@dataclass(frozen=True)
class DefaultMethod:
    """A method by name, and why it is taken, in words."""

    name: str
    why: str


def default_method(classifier: Classifier) -> DefaultMethod:
    """The method that scores chose for this very network, or the usual one for what the model allows."""
    data = read()
    for entry in data["networks"].values():
        if entry["fingerprint"] == classifier.weights_fingerprint and classifier.module is not None:
            return DefaultMethod(entry["method"], reason(entry))
    kind = kind_of(classifier)
    why = NO_GRADIENTS if kind == "network without gradients" else f"the usual one for a {kind}"
    return DefaultMethod(data["otherwise"][kind], why)


def reason(entry: dict[str, Any]) -> str:
    """Why scores chose a bundled network's method: what it was compared with, and what was shown."""
    compared = "of layers, attention or trained heads with one or two passes a photo"
    photos = count(entry["photos"], "photo")
    if entry["ahead"]:
        among = count(entry["among"], "method")
        return f"of {among} {compared}, it has the highest mean insertion that is shown to beat grad-cam's ({photos})"
    others = count(entry["among"] - 1, "other method")
    return f"none of {others} {compared} is shown to beat it on insertion ({photos})"


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
