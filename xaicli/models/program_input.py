"""What the program in a file accepts: the shape of its input, in words of photos. Shared by the runtimes that state it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.untrusted import is_file, is_folder
from xaicli.words import count

FEW = 32
"""Maximum channels if the other axis may have any length."""
PHOTOS = "one input of photos (batch, channels, height, width) in floating point"


@dataclass(frozen=True)
class Accepted:
    """The height and width, and the channels, that a program was exported for; None: any."""

    size: tuple[int, int] | None
    channels: int | None

    def refuse_other(self, view: View, name: str) -> None:
        """Raise UsageError where a view prepares photos of another size or of other channels."""
        if self.size is not None and view.size != self.size:
            found = f"{name} was exported for photos of {by(self.size)} pixels, and the settings make {by(view.size)}"
            raise UsageError(found, hint="Leave out --resize and --crop, or export it with sides of any length.")
        if self.channels is not None and view.channels != self.channels:
            found = f"{name} was exported for {count(self.channels, 'channel')}, and the settings make {view.channels}"
            raise UsageError(
                found, hint=f"Leave out --channels, and give --mean and --std {self.channels} numbers, or one for all."
            )


@dataclass(frozen=True)
class ProgramInput:
    """The batch (None: any), height and width (None: any), the order of axes, and the channels of a program's input;
    channels_stated: whether the program says so, or they are the usual three."""

    batch: int | None
    size: tuple[int, int] | None
    channels_last: bool
    channels: int
    channels_stated: bool

    @classmethod
    def of(cls, shape: Sequence[int | None], name: str, file: Path) -> ProgramInput:
        """By the four sides of the input `name`, None or below 1 where any length will do; raises InputError for other shapes."""
        sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
        if len(sides) != 4:
            raise InputError(f"the input {name} of {file.name} has the shape {list(shape)}", expected=PHOTOS)
        channels, channels_last = channels_of(sides[1], sides[3])
        height, width = sides[1:3] if channels_last else sides[2:4]
        stated = sides[3 if channels_last else 1] is not None
        return cls(sides[0], (height, width) if height and width else None, channels_last, channels, stated)

    @property
    def accepted(self) -> Accepted:
        return Accepted(self.size, self.channels if self.channels_stated else None)

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Of the input, for photos of `size`: as many as a pass takes."""
        photos = self.batch or 1
        return (photos, *size, self.channels) if self.channels_last else (photos, self.channels, *size)


def by(size: tuple[int, int]) -> str:
    """Height and width in words: `64 x 64`."""
    return " x ".join(map(str, size))


def channels_of(first: int | None, last: int | None) -> tuple[int, bool]:
    """The number of channels, and whether their axis is the last: the axis of length three, or the one that is unlikely as a side
    of a picture. None: an axis of any length."""
    if first == 3 or last == 3:
        return 3, first != 3
    if first is None:
        return (3, False) if last is None or last > FEW else (last, True)
    return (last, True) if last is not None and last < first else (first, False)


def existing(name: str, form: str) -> Path:
    """The file that a specification of the form `form` names; raises InputError if there is none."""
    file = Path(name).expanduser()
    if not is_file(file):
        raise InputError(f"there is no file {file}" if not is_folder(file) else f"{file} is a folder", expected=form)
    return file


def logits_among(names: Sequence[str], file: Path) -> int:
    """The place of the output with the logits: the only one, or the one called `logits`; raises InputError."""
    if len(names) == 1:
        return 0
    if "logits" in names:
        return list(names).index("logits")
    raise InputError(
        f"{file.name} has the outputs {', '.join(names)}", expected="one, or one called logits", hint="Export only the logits."
    )
