"""The page of a certificate of trust: the table of methods and properties, and what it says in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xaicli.files import write_atomic
from xaicli.results.report.page import page_of, text


def write_trust_page(
    path: Path, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], sentences: Sequence[str]
) -> None:
    """Write the page; its contents are escaped, and nothing in it can run. Raises InputError if it cannot be written."""
    content = page_of(text("trust.html"), title=title, head=head, rows=rows, sentences=sentences)
    write_atomic(path, lambda file: file.write(content.encode()))
