"""Values of a view, checked: lengths, numbers of channels, scale and order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xaicli.errors import UsageError

ORDERS = ("rgb", "bgr")
"""In which order a network takes colours."""

LARGEST_COLOUR = 3.0
"""Means and standard deviations of pixels in 0..1 lie below 1, and those of odd networks not far above."""

OVER_MANY = ("bilinear", "bicubic", "lanczos")
"""Interpolations that take a mean over many pixels where they shrink a photo."""

MOST_CHANNELS = 4096
MOST_FRAMES = 10_000
LARGEST_SCALE = 1e9


def length(name: str, value: Any) -> int | tuple[int, int] | None:
    """A side or (height, width) in pixels, checked; a list of one side, as torchvision's presets hold it, is that side."""
    if value is None:
        return None
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not 1 <= len(numbers) <= 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise UsageError(f"{name} {value!r} is not a size", expected="a whole number of pixels above 0, or HEIGHT and WIDTH")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def per_channel(name: str, value: Any, scale: float = 1.0) -> tuple[float, ...]:
    """Finite numbers, one a channel, in units of pixels from 0 to `scale`."""
    try:
        numbers = tuple(float(part) for part in value) if not isinstance(value, str) else ()
    except (TypeError, ValueError):
        numbers = ()
    if not 1 <= len(numbers) <= MOST_CHANNELS or not all(math.isfinite(part) for part in numbers):
        raise UsageError(f"{name} {value!r:.200} is not a list of numbers", expected="a number for each channel")
    if max(numbers) > LARGEST_COLOUR * scale:
        if scale != 1:
            raise UsageError(f"{name} {join(numbers)} beside pixels of 0 to {scale:g}", expected=f"0 to {scale:g}")
        hint = f"Write {join([part / 255 for part in numbers])}, or give --input-scale 255 where the network takes 0 to 255."
        raise UsageError(f"{name} {join(numbers)} is in units of 0 to 255", expected="0 to 1", hint=hint)
    return numbers


def check_frames(frames: Any, step: Any) -> None:
    """Raise UsageError unless frames are a number from 0, and the step one from 1."""
    for name, value, least in (("frames", frames, 0), ("frame step", step, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_FRAMES:
            raise UsageError(f"{name} {value!r:.30}", expected=f"a whole number from 1 to {MOST_FRAMES:,}")


def check_fast_decode(wanted: Any, resize: Any, interpolation: str, frames: int) -> None:
    """Raise UsageError where photos are to be decoded smaller than they are, and nothing shows how small they may be."""
    if not isinstance(wanted, bool):
        raise UsageError(f"fast decode {wanted!r:.30}", expected="true or false")
    if wanted and resize is None:
        raise UsageError("fast decode of photos that are not resized", expected="a resize: --resize SIDE")
    if wanted and interpolation not in OVER_MANY:
        found = f"fast decode with interpolation {interpolation}, which takes single pixels of a photo"
        raise UsageError(found, expected=", ".join(OVER_MANY))
    if wanted and frames:
        raise UsageError("fast decode of sequences", expected="photos", hint="Leave --fast-decode out.")


def positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST_SCALE:
        raise UsageError(f"{name} {value!r:.50}", expected="a number above 0, such as 255")
    return float(value)


def join(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def sides(value: int | tuple[int, int]) -> str:
    """A size in words: "224", or "192 x 224" as height x width."""
    return str(value) if isinstance(value, int) else f"{value[0]} x {value[1]}"
