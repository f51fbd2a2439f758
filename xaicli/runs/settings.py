"""How a run is done."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageColor

from xaicli.errors import UsageError
from xaicli.images.decode_limits import SECONDS


@dataclass(frozen=True)
class Settings:
    """How a run is done; only `precision` is part of a result's definition.

    batch_size: maximum inputs per pass, photos or altered copies; None for what suits the memory best. background: the colour
    behind transparent parts. bands: numbers from 1 of those that are drawn as red, green and blue, or of one that is drawn as
    grey. command: recorded beside the results.
    """

    seed: int = 0
    precision: str = "auto"
    batch_size: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    decode_timeout: float = SECONDS
    bands: tuple[int, ...] = ()
    command: str = ""


def colour(given: str | tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour as red, green and blue, 0 to 255; raises UsageError for an unknown name."""
    if not isinstance(given, str):
        return given
    try:
        red, green, blue, *_ = ImageColor.getrgb(given)
    except ValueError as error:
        raise UsageError(f"{given!r} is not a colour", expected="a name or #rrggbb") from error
    return red, green, blue
