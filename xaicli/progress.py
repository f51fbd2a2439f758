"""What a run reports while it works: lines for people, rows as soon as they are known, and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
Step = Callable[..., None]
"""step(done=1, note=""): count further items; note: a few words beside the bar."""


class Progress:
    """A silent listener. Pass an instance of a subclass as `progress=` to follow a run; the commands draw a bar.

    class Loud(xaicli.Progress):
        def say(self, text): print(text)
    """

    def say(self, text: str) -> None:
        """A line for people."""

    def warn(self, text: str) -> None:
        """A line that is shown even to users who want few lines."""

    def row(self, record: Mapping[str, Any]) -> None:
        """A row of the result, as soon as it is known."""

    @contextmanager
    def task(self, what: str, total: int | None) -> Iterator[Step]:
        """A part of the run with `total` items, None if their number is reported later; yields the function that counts."""
        yield lambda done=1, note="", total=None: None

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass items on and count them."""
        with self.task(what, total) as step:
            for item in items:
                step()
                yield item


SILENT = Progress()
