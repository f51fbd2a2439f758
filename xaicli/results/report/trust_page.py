"""The page of a certificate of trust: the table of methods and properties, and what it says in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from xaicli.files import write_atomic
from xaicli.results.report.page import policy, text


def write_trust_page(
    path: Path, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], sentences: Sequence[str]
) -> None:
    """Write the page; its contents are escaped, and nothing in it can run. Raises InputError if it cannot be written."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = text("style.css")
    content = environment.from_string(text("trust.html")).render(
        title=title, head=head, rows=rows, sentences=sentences, style=Markup(style), policy=policy(style, "")
    )
    write_atomic(path, lambda file: file.write(content.encode()))
