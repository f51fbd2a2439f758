"""The bytes that the decoded photos of a run take together, which have a limit: from before a photo is decoded until nobody
holds it."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

ROOM = 320 << 20
"""Bytes: four photos of 24 megapixels. A photo that takes more is let in when it is the only one."""


@dataclass(eq=False)
class PhotoRoom:
    """Room for decoded photos: those being decoded, those that wait for the network, its batch, and those being drawn.

    limit: bytes; copies: how many pictures of its size a photo needs when it is drawn; held: bytes taken now, and `most` so far;
    drawing: photos in the hands of those who draw; asked: the number of the photo that the run waits for; next: the first
    that has not entered, and `passed` those after it that have.
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
        """Wait until `size` bytes can be taken for the photo of that number."""
        with self.changed:
            self.changed.wait_for(lambda: self.may_enter(number, size))
            self.take(size)
            self.pass_on(number)

    def may_enter(self, number: int, size: int) -> bool:
        """Whether there is room; for the photo that is asked for also where there will never be more.

        Photos enter in order: one that comes later must not take the room of the one that is asked for.
        """
        if math.isinf(self.asked):
            return True
        if number > self.next:
            return False
        return self.held + size <= self.limit or (number <= self.asked and not self.drawing)

    def pass_on(self, number: int) -> None:
        """Let later photos in too: this one is in, or cannot be used."""
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
        """Take `size` bytes in place of `taken` for as long as `holder` lives."""
        self.take(size - taken)
        weakref.finalize(holder, self.take, -size).atexit = False

    def ask(self, number: float) -> None:
        """Say which photo the run waits for."""
        with self.changed:
            self.asked = number
            self.changed.notify_all()

    def end(self) -> None:
        """Nobody asks for photos any more: let all in that wait, so that their threads end."""
        self.ask(math.inf)

    def draw(self, holder: Any) -> None:
        """Hand a photo to those who draw, who let go of `holder` by themselves."""
        self.count_drawing(1)
        weakref.finalize(holder, self.count_drawing, -1).atexit = False

    def count_drawing(self, more: int) -> None:
        with self.changed:
            self.drawing += more
            self.changed.notify_all()
