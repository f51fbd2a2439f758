"""A limit on the memory of a run's decoded photos. A photo counts from before it is decoded until nobody holds it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

ROOM = 320 << 20
"""Bytes: three photos of 24 megapixels. A larger photo is admitted when it is the only one."""


@dataclass(eq=False)
class PhotoRoom:
    """The memory for decoded photos: those being decoded, those that wait for the network, its batch, and those being drawn.

    limit: bytes; copies: how many pictures of its size a photo needs when it is drawn; held: bytes in use now, and `most` so far;
    drawing: photos being drawn; asked: the number of the photo that the run waits for; next: the first that has not entered, and
    `passed` those after it that have.
    """

    limit: int = field(default_factory=lambda: ROOM)
    copies: int = 1
    held: int = 0
    most: int = 0
    drawing: int = 0
    asked: float = -1
    next: int = 0
    passed: set[int] = field(default_factory=set)
    changed: Condition = field(default_factory=Condition)

    def enter(self, number: int, size: int) -> None:
        """Wait until the photo of that number may use `size` bytes."""
        with self.changed:
            self.changed.wait_for(lambda: self.may_enter(number, size))
            self.take(size)
            self.pass_on(number)

    def may_enter(self, number: int, size: int) -> bool:
        """Whether a photo may enter: there is room, or it is the photo that the run waits for and no more room will become free.

        Photos enter in order, so that a later one cannot take the room of the one that the run waits for.
        """
        if math.isinf(self.asked):
            return True
        if number > self.next:
            return False
        return self.held + size <= self.limit or (number <= self.asked and not self.drawing)

    def pass_on(self, number: int) -> None:
        """Let later photos enter: this one has entered, or cannot be used."""
        with self.changed:
            self.passed |= {number} if number >= self.next else set()
            while self.next in self.passed:
                self.passed.remove(self.next)
                self.next += 1
            self.changed.notify_all()

    def take(self, size: int) -> None:
        with self.changed:
            self.held += size
            self.most = max(self.most, self.held)
            self.changed.notify_all()

    def keep(self, holder: Any, taken: int, size: int) -> None:
        """Count `size` bytes instead of `taken` as long as `holder` lives."""
        self.take(size - taken)
        weakref.finalize(holder, self.take, -size).atexit = False

    @contextmanager
    def passing(self) -> Iterator[Callable[[int], None]]:
        """Room for a photo that is gone at the end, in any order; gives what is to be called with its bytes, and waits."""
        taken = 0

        def admit(size: int) -> None:
            nonlocal taken
            with self.changed:
                self.changed.wait_for(lambda: self.held == 0 or self.held + size <= self.limit)
                self.take(size)
                taken += size

        try:
            yield admit
        finally:
            self.take(-taken)

    def ask(self, number: float) -> None:
        """Say which photo the run waits for."""
        with self.changed:
            self.asked = number
            self.changed.notify_all()

    def end(self) -> None:
        """End: admit all waiting photos, so that their threads end."""
        self.ask(math.inf)

    def draw(self, holder: Any) -> None:
        """Note that a photo is being drawn, until `holder` is freed."""
        self.count_drawing(1)
        weakref.finalize(holder, self.count_drawing, -1).atexit = False

    def count_drawing(self, more: int) -> None:
        with self.changed:
            self.drawing += more
            self.changed.notify_all()
