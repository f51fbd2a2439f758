"""Photos that tests of the trained methods share."""

import importlib.util
from pathlib import Path

import pytest

COLOURS = Path(__file__).resolve().parents[1] / "data" / "colours.py"


@pytest.fixture(scope="module")
def squares():
    spec = importlib.util.spec_from_file_location("colours", COLOURS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.squares
