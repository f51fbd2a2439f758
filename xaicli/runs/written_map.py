"""One map on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from xaicli.attribution import Record
from xaicli.images.source import Source


@dataclass(frozen=True)
class WrittenMap:
    """A map's record and its files. kept: it was complete before; thumbnail: of the photo, if a sheet will show it."""

    source: Source
    record: Record
    stem: Path
    kept: bool = False
    thumbnail: Image.Image | None = field(default=None, compare=False, repr=False)

    def path(self, ending: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}{ending}")

    @property
    def picture(self) -> str:
        """The overlay, or the array if the map cannot be drawn."""
        ending = ".npy" if self.record.status == "non-finite" else ".png"
        return f"{self.stem}{ending}"
