"""The line on a model."""

from dataclasses import replace

from xaicli.models.load import load_classifier
from xaicli.runs.open_model import describe_model


def test_only_the_classes_that_ship_with_the_package_are_called_bundled_and_everyday() -> None:
    tiny = load_classifier("tiny")
    assert "bundled, 200 everyday classes" in describe_model(tiny)
    assert "2 classes" in describe_model(replace(tiny, count=2))
    assert "everyday" not in describe_model(replace(tiny, count=2))
