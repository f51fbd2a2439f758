"""What a method needs of a classifier, and what a classifier provides: the same flags."""

from __future__ import annotations

import enum


class Needs(enum.Flag):
    """What a method needs of a classifier; a classifier declares the same flags as what it can do."""

    FORWARD = enum.auto()
    GRADIENTS = enum.auto()
    FEATURES = enum.auto()
    ATTENTION = enum.auto()
    CHECKPOINT = enum.auto()
    HEAD = enum.auto()
    BOXES = enum.auto()

    def words(self) -> str:
        return ", ".join((flag.name or "").lower().replace("checkpoint", "a trained checkpoint") for flag in self)
