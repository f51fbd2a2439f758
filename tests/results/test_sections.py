"""A page of sections shows what it is given, and nothing in it can run."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from xaicli.claims import is_own
from xaicli.results.report.sections import PagePicture, PictureGroup, Section, sections_page, table_rows, write_sections

HOSTILE = '<script>alert(1)</script>"&'


def test_texts_are_escaped_everywhere_and_no_script_may_run() -> None:
    picture = PagePicture.of(Image.new("RGB", (4, 4)), HOSTILE)
    section = Section(
        HOSTILE, (HOSTILE,), ((HOSTILE, HOSTILE), (HOSTILE, HOSTILE)), (PictureGroup(HOSTILE, (picture,), HOSTILE),)
    )
    page = sections_page(HOSTILE, HOSTILE, [section])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_empty_sections_are_left_out() -> None:
    assert "Nothing here" not in sections_page("t", "a", [Section("Nothing here"), Section("Here", ("line",))])


def test_the_page_is_known_as_ours(tmp_path: Path) -> None:
    write_sections(tmp_path / "page.html", "t", "a", [Section("Here", ("line",))])
    assert is_own(tmp_path / "page.html")


def test_records_become_rows_with_a_header() -> None:
    assert table_rows([{"a": 0.5, "b": None}, {"a": 1}], ("a", "b")) == (("a", "b"), ("0.50", ""), ("1", ""))
    assert table_rows([], ("a",)) == ()
