"""One map on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from xaicli.images.source import Source
from xaicli.record import Record, load_record


@dataclass(frozen=True)
class WrittenMap:
    """A map and its files.

    place: their path without an ending; method, status: as its record has them; kept: it was complete before; thumbnail: of the
    photo, if a sheet will show it; fresh: the record, until the run has told of it.
    """

    source: Source
    place: str
    method: str
    status: str
    kept: bool = False
    thumbnail: Image.Image | None = field(default=None, compare=False, repr=False)
    fresh: Record | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, source: Source, record: Record, stem: Path, *, kept: bool, thumbnail: Image.Image | None = None) -> WrittenMap:
        return cls(source, str(stem), record.method, record.status, kept, thumbnail, record)

    def told(self) -> WrittenMap:
        """The map as it is remembered until a run ends: thousands of records are not kept in memory."""
        return replace(self, fresh=None)

    @property
    def record(self) -> Record:
        """The record, from its file if the run no longer has it; raises InputError."""
        return self.fresh or load_record(self.path(".json"))

    @property
    def stem(self) -> Path:
        return Path(self.place)

    def path(self, ending: str) -> Path:
        return Path(f"{self.place}{ending}")

    @property
    def picture(self) -> str:
        """The overlay, or the array if the map cannot be drawn."""
        return f"{self.place}.npy" if self.status == "non-finite" else f"{self.place}.png"
