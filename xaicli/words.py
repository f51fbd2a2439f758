"""Numbers and times in words."""

from __future__ import annotations


def count(number: int, word: str, plural: str = "") -> str:
    """`1 photo`, `2 photos`, `4,000 passes`."""
    return f"{number:,} {word if number == 1 else plural or f'{word}s'}"


def span(seconds: float) -> str:
    """A time: 0.9 s, 51 s, 2 min 51 s, 1 h 12 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
