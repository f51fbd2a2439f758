"""How a run is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a run is done; only `precision` is part of what a result is."""

    seed: int = 0
    precision: str = "auto"
    batch_size: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    command: str = ""
    keep_picture: bool = True
