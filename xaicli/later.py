"""Packages that only some runs need, imported when they are first used: every command starts sooner."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """A module of that name, as `import` would bind it; what is asked of it imports it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.name), attribute)


agg = Later("matplotlib.backends.backend_agg")
distributions = Later("scipy.stats")
figures = Later("matplotlib.figure")
ndimage = Later("scipy.ndimage")
special = Later("scipy.special")
