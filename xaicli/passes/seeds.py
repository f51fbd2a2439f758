"""Seeds and random streams that depend on what is computed, never on batch, order or shard.

A photo's seed is a hash of (run seed, photo content, frame, method name). So two parameter sets of one method share their random
numbers, while two photos are independent. Inside a method there is one independent generator for each (purpose, chunk).
"""

from __future__ import annotations

import hashlib

import numpy as np


def photo_seed(run_seed: int, photo: str, frame: int, name: str) -> int:
    """The seed of one photo under one method or metric: 0 to 2**63 - 1. `photo` is the content's SHA-256 in hex."""
    return digest(run_seed, photo, frame, name) >> 1


def stream(seed: int, purpose: str, chunk: int = 0) -> np.random.Generator:
    """An independent generator for one purpose and one chunk of a photo's work; it draws on the CPU, so that all devices
    agree."""
    text = f"{int(seed)}/{purpose}/{int(chunk)}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def digest(*parts: object) -> int:
    """64 bits of blake2b over the parts, each with its length, so that different lists of parts never give the same input."""
    text = "".join(f"{len(str(part))}:{part}" for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
