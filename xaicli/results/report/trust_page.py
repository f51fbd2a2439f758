"""The page of a certificate of trust: which method to take, the table of methods and properties, and sentences."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xaicli.files import write_atomic
from xaicli.results.report.page import page_of, text
from xaicli.results.report.sections import PagePicture


@dataclass(frozen=True)
class TrustPage:
    """What the page says.

    title: the certificate in one line; lead: which method to take; head, rows: the table, the method first; controls: the methods
    that are controls; better: an arrow by column; meanings: of the columns; sentences: one a method; notes: what else is to be
    known; picture: of what was planted, None without.
    """

    title: str
    lead: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    controls: Collection[str]
    better: Mapping[str, str]
    meanings: Mapping[str, str]
    sentences: Sequence[str]
    notes: Sequence[str]
    picture: PagePicture | None


def write_trust_page(path: Path, page: TrustPage) -> None:
    """Write the page; its contents are escaped, and nothing in it can run. Raises InputError if it cannot be written."""
    content = page_of(text("trust.html"), **vars(page))
    write_atomic(path, lambda file: file.write(content.encode()))
