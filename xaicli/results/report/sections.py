"""A self-contained page of sections: sentences, a table, groups of pictures. Nothing in it runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from xaicli.files import write_atomic
from xaicli.results.report.page import page_of, text
from xaicli.text_table import cell

SIDE, QUALITY = 224, 82


@dataclass(frozen=True)
class PagePicture:
    """A picture as a base64 JPEG, and the line under it."""

    jpeg: str
    caption: str

    @classmethod
    def of(cls, picture: Image.Image, caption: str, side: int = SIDE) -> PagePicture:
        """The picture, no larger than `side`, without anything that its file says beside its colours."""
        small = Image.new("RGB", picture.size)
        small.paste(picture.convert("RGB"))
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
        return cls(base64.b64encode(buffer.getvalue()).decode(), caption)


@dataclass(frozen=True)
class PictureGroup:
    """Pictures side by side under a heading."""

    title: str
    pictures: tuple[PagePicture, ...]
    line: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page. rows: of a table, the header first."""

    title: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    groups: tuple[PictureGroup, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.lines or self.rows or self.groups)


def table_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Records as rows of texts, the header first; nothing where there are none."""
    return (tuple(columns), *(tuple(cell(row.get(name)) for name in columns) for row in records)) if records else ()


def sections_page(title: str, about: str, sections: Sequence[Section]) -> str:
    """The page as text; empty sections are left out."""
    shown = [section for section in sections if not section.is_empty]
    return page_of(text("sections.html"), title=title, about=about, sections=shown)


def write_sections(path: Path, title: str, about: str, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all; raises InputError if the file cannot be written."""
    content = sections_page(title, about, sections).encode()
    write_atomic(path, lambda file: file.write(content))
