"""What a method needs of a classifier, and what a classifier provides: the same flags."""

from __future__ import annotations

import enum

from xaicli.errors import UsageError


class Needs(enum.Flag):
    """What a method needs of a classifier; a classifier declares the same flags as what it can do."""

    FORWARD = enum.auto()
    GRADIENTS = enum.auto()
    FEATURES = enum.auto()
    ATTENTION = enum.auto()
    CHECKPOINT = enum.auto()
    HEAD = enum.auto()
    BOXES = enum.auto()
    FRAMES = enum.auto()

    def words(self) -> str:
        return ", ".join((flag.name or "").lower().replace("checkpoint", "a trained checkpoint") for flag in self)


def of_sequences(what: str, model: str) -> UsageError:
    """The refusal of a network of sequences by a command that reads photos alone."""
    return UsageError(
        f"{what} reads photos, and {model} reads sequences of frames", hint="xai explain, score and compare read sequences."
    )


def of_photos(what: str, model: str) -> UsageError:
    """The refusal of a network of photos by what explains sequences of frames."""
    hint = "--frames N lets it read N frames one by one, as the mean of their logits."
    return UsageError(f"{what} needs sequences of frames, and {model} reads photos", hint=hint)
