"""Watching operations as torch dispatches them."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that is run as it is written: torch would import its compiler to leave it alone, which takes seconds and
    150 MiB."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
