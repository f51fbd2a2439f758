"""Records as text in every form."""

from __future__ import annotations

import csv
import io
import json

import pytest

from xaicli.text_table import FORMATS, rendered

ROWS = [{"name": "a_b", "score": 0.5, "note": None}, {"name": "50 %", "score": 12.25, "note": "x|y"}]


def test_a_table_is_aligned_numbers_to_the_right() -> None:
    assert rendered(ROWS, columns=("name", "score")).splitlines() == ["name  score", "a_b    0.50", "50 %  12.25"]


def test_a_table_that_is_too_wide_is_cut_where_names_differ_least() -> None:
    [_, line] = rendered([{"name": "a/very/long/path/to/cat.jpg", "p": 0.5}], width=20).splitlines()
    assert len(line) <= 20
    assert line.startswith("a/v")
    assert "cat" not in line or line.endswith("0.50")


def test_a_text_of_several_words_goes_on_in_the_next_line_of_a_table_that_is_too_wide() -> None:
    rows = [{"name": "grad-cam", "summary": "channels weighted by their mean gradient", "p": 0.5}]
    assert rendered(rows, width=30).splitlines() == [
        "name      summary            p",
        "grad-cam  channels        0.50",
        "          weighted by",
        "          their mean",
        "          gradient",
    ]


def test_markdown_and_latex_show_every_character_as_it_is() -> None:
    assert rendered(ROWS, "markdown").splitlines() == [
        "| name | score | note |",
        "| --- | ---: | --- |",
        "| a\\_b | 0.50 |  |",
        "| 50 % | 12.25 | x\\|y |",
    ]
    assert rendered(ROWS, "latex").splitlines() == [
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"name & score & note \\",
        r"\midrule",
        r"a\_b & 0.50 &  \\",
        r"50 \% & 12.25 & x|y \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_programs_read_back_what_was_given() -> None:
    assert json.loads(rendered(ROWS, "json")) == ROWS
    assert [json.loads(line) for line in rendered(ROWS, "jsonl").splitlines()] == ROWS
    assert list(csv.DictReader(io.StringIO(rendered(ROWS, "csv"))))[1] == {"name": "50 %", "score": "12.25", "note": "x|y"}


@pytest.mark.parametrize("form", FORMATS)
def test_no_record_is_no_table(form: str) -> None:
    assert rendered([], form) in ("", "[]")
