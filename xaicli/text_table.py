"""Records as text: an aligned table for people, Markdown and LaTeX for papers, JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from xaicli.terminal import columns_of, fit, is_number, printable, wrapped
from xaicli.writable_text import json_text

FORMATS = ("table", "markdown", "latex", "json", "jsonl", "csv")
NARROWEST = 8
LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "†": r"$^\dagger$",
    "<": "$<$",
    ">": "$>$",
}
"""Characters that are special in LaTeX, or missing in its fonts."""


def cell(value: Any) -> str:
    """A value for people: two decimals for fractions, nothing for None; control characters are shown escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 1000 else f"{value:.4g}"
    return printable(str(value))


def aligned(
    rows: Sequence[Sequence[str]], *, right: Sequence[bool] | None = None, gap: str = "  ", width: int = 0, prefix: str = ""
) -> list[str]:
    """Rows as lines of aligned columns; the first row is the header.

    right: which columns are right-aligned, by default none; width: terminal columns, 0 for no limit. The widest columns are
    made narrower until a line fits: a text of several words goes on in the next line, a longer word is shortened in the middle.
    """
    return [line for lines in aligned_rows(rows, right=right, gap=gap, width=width, prefix=prefix) for line in lines]


def aligned_rows(
    rows: Sequence[Sequence[str]], *, right: Sequence[bool] | None = None, gap: str = "  ", width: int = 0, prefix: str = ""
) -> list[list[str]]:
    """The lines of each row of `aligned`."""
    if not rows:
        return []
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    while width and sum(widths) + len(gap) * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    sides = right or [False] * len(widths)
    made = []
    for row in rows:
        cells = [wrapped(text, wide) if columns_of(text) > wide else [text] for text, wide in zip(row, widths, strict=True)]
        lines = [
            gap.join(fit(text, wide, side) for text, wide, side in zip(texts, widths, sides, strict=True))
            for texts in zip_longest(*cells, fillvalue="")
        ]
        made.append([(prefix + line).rstrip() for line in lines])
    return made


def in_blocks(first: Sequence[str], columns: Sequence[Sequence[str]], width: int, gap: str = "  ") -> list[list[tuple[str, ...]]]:
    """The rows of tables below each other, each of `first` and as many of the columns as fit `width`; 0 for no limit."""
    blocks: list[list[Sequence[str]]] = [[]]
    for column in columns:
        wide = [max(map(columns_of, texts)) for texts in (first, *blocks[-1], column)]
        if width and blocks[-1] and sum(wide) + len(gap) * (len(wide) - 1) > width:
            blocks.append([])
        blocks[-1].append(column)
    return [list(zip(first, *block, strict=True)) for block in blocks]


def markdown(rows: Sequence[Sequence[str]], *, right: Sequence[bool]) -> str:
    """Rows, the header first, as a Markdown table."""
    head, *rest = [[in_markdown(text) for text in row] for row in rows]
    rule = ["---:" if side else "---" for side in right]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rest])


def in_markdown(text: str) -> str:
    """Text escaped for Markdown and for the HTML made from it."""
    return "".join("\\" + char if char in "\\`*_{}<>|#" else char for char in printable(text))


def latex(rows: Sequence[Sequence[str]], *, right: Sequence[bool]) -> str:
    """Rows, the header first, as a LaTeX table with the rules of the package booktabs."""
    # LaTeX would read a bracket at the start of a row as an argument of the line break before it.
    head, *rest = [" & ".join(map(in_latex, row)).replace("[", "{[}", row[0].startswith("[")) + r" \\" for row in rows]
    sides = "".join("r" if side else "l" for side in right)
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", head, r"\midrule", *rest, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines)


def in_latex(text: str) -> str:
    """Text escaped for LaTeX."""
    return "".join(LATEX.get(char, char) for char in printable(text))


def rendered(records: Sequence[Mapping[str, Any]], form: str = "table", columns: Sequence[str] = (), *, width: int = 0) -> str:
    """Records with the same keys in one of FORMATS, without a line break at the end.

    columns: the keys that tables show, by default those of the first record; the other formats hold everything; width: of the
    table in terminal columns, 0 for no limit. Numbers are right-aligned.
    """
    if form == "json":
        return json_text(list(records))
    if form == "jsonl":
        return "\n".join(json_text(record, None) for record in records)
    if form == "csv":
        return as_csv(records)
    if not records:
        return ""
    shown = list(columns or records[0])
    rows = [[cell(record.get(name)) for name in shown] for record in records]
    right = [all(is_number(row[at]) for row in rows) for at in range(len(shown))]
    if form == "markdown":
        return markdown([shown, *rows], right=right)
    if form == "latex":
        return latex([shown, *rows], right=right)
    return "\n".join(aligned([shown, *rows], right=right, width=width))


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for record in records for name in record)), lineterminator="\n")
    if records:
        writer.writeheader()
    writer.writerows(records)
    return text.getvalue().removesuffix("\n")
