"""Tables as text: aligned columns for people; cells of plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xaicli.terminal import columns_of, fit, is_number, printable

NARROWEST = 8


def cell(value: Any) -> str:
    """A value for people: two decimals for fractions, nothing for None; control characters shown, never sent to the terminal."""
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
    """Rows as lines of aligned columns, a header being the first row.

    right: which columns stand to the right, by default none; width: terminal columns, 0 for no limit: the widest columns are cut
    in the middle until a line fits.
    """
    if not rows:
        return []
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    while width and sum(widths) + len(gap) * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    sides = right or [False] * len(widths)
    lines = []
    for row in rows:
        cells = [fit(text, wide, side) for text, wide, side in zip(row, widths, sides, strict=True)]
        lines.append((prefix + gap.join(cells)).rstrip())
    return lines


def table_of(records: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), *, width: int = 0) -> str:
    """Records of equal keys as one table; columns: which of the keys, by default those of the first; numbers to the right."""
    if not records:
        return ""
    shown = list(columns or records[0])
    rows = [[cell(record.get(name)) for name in shown] for record in records]
    right = [all(is_number(row[at]) for row in rows) for at in range(len(shown))]
    return "\n".join(aligned([shown, *rows], right=right, width=width))
