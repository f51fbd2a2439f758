"""xaicli: explain what a vision model looked at, score the explanations, compare them fairly.

    import xaicli
    classifier = xaicli.load_classifier("resnet50")
    [attribution] = xaicli.explain("cat.jpg", classifier, method="grad-cam")
    attribution.show()

Names are imported when they are first used: `import xaicli` imports no torch.
"""

from __future__ import annotations

import importlib
import os
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaicli.attribution import Attribution as Attribution
    from xaicli.errors import XaiError as XaiError
    from xaicli.method import Cost as Cost
    from xaicli.method import Maps as Maps
    from xaicli.method import Method as Method
    from xaicli.metric import Metric as Metric
    from xaicli.models.from_detector import detector as detector
    from xaicli.models.from_module import classifier as classifier
    from xaicli.models.load import load_classifier as load_classifier
    from xaicli.needs import Needs as Needs
    from xaicli.network.classifier import Classifier as Classifier
    from xaicli.params import param as param
    from xaicli.progress import Progress as Progress
    from xaicli.registry import make_method as make_method
    from xaicli.registry import make_metric as make_metric
    from xaicli.runs.aggregate import aggregate as aggregate
    from xaicli.runs.audit import audit as audit
    from xaicli.runs.augment import augment as augment
    from xaicli.runs.bank import build_bank as build_bank
    from xaicli.runs.baseline import baseline as baseline
    from xaicli.runs.bundle import bundle as bundle
    from xaicli.runs.check import check as check
    from xaicli.runs.compare import compare as compare
    from xaicli.runs.doctor import doctor as doctor
    from xaicli.runs.explain import explain as explain
    from xaicli.runs.export import export as export
    from xaicli.runs.merge import merge as merge
    from xaicli.runs.parity import parity as parity
    from xaicli.runs.report import report as report
    from xaicli.runs.score import score as score
    from xaicli.runs.trust import trust as trust
    from xaicli.runs.verify import verify as verify
    from xaicli.sign import Sign as Sign
    from xaicli.training.study import study as study
    from xaicli.training.train import train as train

PLACES = {
    "Attribution": "xaicli.attribution",
    "Classifier": "xaicli.network.classifier",
    "Cost": "xaicli.method",
    "Maps": "xaicli.method",
    "Method": "xaicli.method",
    "Metric": "xaicli.metric",
    "Needs": "xaicli.needs",
    "Progress": "xaicli.progress",
    "Sign": "xaicli.sign",
    "XaiError": "xaicli.errors",
    "aggregate": "xaicli.runs.aggregate",
    "audit": "xaicli.runs.audit",
    "augment": "xaicli.runs.augment",
    "baseline": "xaicli.runs.baseline",
    "build_bank": "xaicli.runs.bank",
    "bundle": "xaicli.runs.bundle",
    "check": "xaicli.runs.check",
    "classifier": "xaicli.models.from_module",
    "compare": "xaicli.runs.compare",
    "detector": "xaicli.models.from_detector",
    "doctor": "xaicli.runs.doctor",
    "explain": "xaicli.runs.explain",
    "export": "xaicli.runs.export",
    "load_classifier": "xaicli.models.load",
    "make_method": "xaicli.registry",
    "make_metric": "xaicli.registry",
    "merge": "xaicli.runs.merge",
    "param": "xaicli.params",
    "parity": "xaicli.runs.parity",
    "report": "xaicli.runs.report",
    "score": "xaicli.runs.score",
    "study": "xaicli.training.study",
    "train": "xaicli.training.train",
    "trust": "xaicli.runs.trust",
    "verify": "xaicli.runs.verify",
}

__all__ = ["__version__", *PLACES]

HERE = os.path.dirname(os.path.abspath(__file__))
BESIDE = os.path.dirname(HERE)
if not os.path.isdir(os.path.join(HERE, "methods")) and os.path.isfile(os.path.join(BESIDE, "methods", "__init__.py")):
    # In a checkout, `methods/` and `metrics/` lie beside `xaicli/`; in an installation they are inside it.
    __path__.append(BESIDE)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from xaicli.packages import versions

        return versions()["xaicli"]
    if name in PLACES:
        found = getattr(importlib.import_module(PLACES[name]), name)
        return importlib.import_module("xaicli.typed_call").typed(found) if isinstance(found, FunctionType) else found
    raise AttributeError(f"module 'xaicli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
