"""How much is tried: little in the default run, all of it under `make torture` (XAI_TORTURE=full)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def amount() -> Callable[[int, int], int]:
    """`amount(few, many)`: how often something is tried."""
    return lambda few, many: many if os.environ.get("XAI_TORTURE") == "full" else few
