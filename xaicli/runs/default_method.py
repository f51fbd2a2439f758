"""The method where none is named."""

from __future__ import annotations

from xaicli.network.classifier import Classifier
from xaicli.registry import make_method, unfit

DECISION = "top1"


def default_method(classifier: Classifier, target: str = DECISION) -> str:
    """The classifier's own best: `lfi-cam` where it has the branch and its decision is explained, else `grad-cam`; of a black box
    `rise`."""
    if classifier.module is None:
        return "rise"
    return "lfi-cam" if target == DECISION and unfit(make_method("lfi-cam"), classifier) is None else "grad-cam"
