"""xaicli: explain what an image classifier looked at, score the explanations, compare them fairly.

    import xaicli
    classifier = xaicli.load_classifier("resnet50")
    [attribution] = xaicli.explain("cat.jpg", classifier, method="grad-cam")
    attribution.show()

Names are imported when they are first used: `import xaicli` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaicli.attribution import Attribution as Attribution
    from xaicli.errors import XaiError as XaiError
    from xaicli.method import Cost as Cost
    from xaicli.method import Maps as Maps
    from xaicli.method import Method as Method
    from xaicli.metric import Metric as Metric
    from xaicli.models.from_module import classifier as classifier
    from xaicli.models.load import load_classifier as load_classifier
    from xaicli.needs import Needs as Needs
    from xaicli.network.classifier import Classifier as Classifier
    from xaicli.params import param as param
    from xaicli.registry import make_method as make_method
    from xaicli.registry import make_metric as make_metric
    from xaicli.runs.bank import build_bank as build_bank
    from xaicli.runs.in_memory import explain as explain
    from xaicli.sign import Sign as Sign
    from xaicli.training.api import train as train

PLACES = {
    "Attribution": "xaicli.attribution",
    "Classifier": "xaicli.network.classifier",
    "Cost": "xaicli.method",
    "Maps": "xaicli.method",
    "Method": "xaicli.method",
    "Metric": "xaicli.metric",
    "Needs": "xaicli.needs",
    "Sign": "xaicli.sign",
    "XaiError": "xaicli.errors",
    "build_bank": "xaicli.runs.bank",
    "classifier": "xaicli.models.from_module",
    "explain": "xaicli.runs.in_memory",
    "load_classifier": "xaicli.models.load",
    "make_method": "xaicli.registry",
    "make_metric": "xaicli.registry",
    "param": "xaicli.params",
    "train": "xaicli.training.api",
}

__all__ = ["__version__", *PLACES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("xaicli")
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    raise AttributeError(f"module 'xaicli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
