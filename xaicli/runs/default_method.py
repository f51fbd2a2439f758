"""The method where none is named."""

from __future__ import annotations

from xaicli.network.classifier import Classifier


def default_method(classifier: Classifier) -> str:
    """`grad-cam`, and `rise` for a black box."""
    return "rise" if classifier.module is None else "grad-cam"
