"""Numbers, times, sizes and types in words."""

from __future__ import annotations


def count(number: int, word: str, plural: str = "") -> str:
    """`1 photo`, `2 photos`, `4,000 passes`."""
    return f"{number:,} {word if number == 1 else plural or f'{word}s'}"


def are(number: int) -> str:
    """The verb after a number of things: `is` for one, else `are`."""
    return "is" if number == 1 else "are"


def span(seconds: float) -> str:
    """A time: 0.9 s, 51 s, 2 min 51 s, 1 h 12 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def volume(length: int) -> str:
    """A number of bytes in powers of ten: 1 byte, 18 KB, 1.1 MB, 97 MB."""
    if length < 1000:
        return count(length, "byte")
    if length < 999_500:
        return f"{length / 1e3:.0f} KB"
    return f"{length / 1e6:.1f} MB" if length < 9_950_000 else f"{length / 1e6:,.0f} MB"


def type_of(value: object) -> str:
    """The type of a value: an int, a list, an ndarray; None is itself."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' or name == 'ndarray' else 'a'} {name}"
