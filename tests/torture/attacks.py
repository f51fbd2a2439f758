"""Seeded damage to files: cut, flipped, overwritten, repeated, joined; the same seed gives the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Damage = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit."""
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def sprinkled(content: bytes, chance: random.Random) -> bytes:
    """Up to thirty bytes of other values, most of them near the head, where formats say how large they are."""
    damaged = bytearray(content)
    for _ in range(chance.randrange(1, 30)):
        reach = len(damaged) if chance.random() < 0.3 else min(len(damaged), 200)
        damaged[chance.randrange(reach)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    return bytes(damaged)


def repeated(content: bytes, chance: random.Random) -> bytes:
    """A part of the file many times over."""
    start = chance.randrange(len(content))
    part = content[start : start + chance.randrange(1, 400)]
    return content[:start] + part * chance.randrange(2, 60) + content[start:]


def removed(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randrange(1, 200) :]


def blanked(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + bytes(min(chance.randrange(1, 500), len(content) - start)) + content[start + 500 :]


DAMAGES: tuple[Damage, ...] = (cut, flipped, sprinkled, repeated, removed, blanked)


def damaged(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many damaged copies of a file, each with the name of what was done to it."""
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        damage = DAMAGES[number % len(DAMAGES)]
        yield f"{damage.__name__} {number}", damage(content, chance)


def truncations(content: bytes, places: int) -> Iterator[tuple[str, bytes]]:
    """The file cut at so many places, evenly."""
    for at in range(places):
        yield f"cut at {at}/{places}", content[: len(content) * at // places]


def bit_flips(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """One bit changed, so many times."""
    for number in range(count):
        yield f"bit {number}", flipped(content, random.Random(f"{seed}/{number}"))
